from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clippan_cli.networks.selective_scan import Scan, selective_scan

Parts = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def parts(length: int, width: int = 6, states: int = 4, dtype: torch.dtype = torch.float32) -> Parts:
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=random)

    return (
        draw(2, length, width),
        torch.nn.functional.softplus(draw(2, length, width)),
        -4 * draw(width, states).abs() - 0.1,
        draw(2, length, states),
        draw(2, length, states),
    )


def one_by_one(x: Tensor, step: Tensor, decay: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    """The definition."""
    state = x.new_zeros(x.shape[0], *decay.shape)
    out = []
    for t in range(x.shape[1]):
        state = torch.exp(step[:, t, :, None] * decay) * state
        state = state + (step[:, t] * x[:, t])[..., None] * enter[:, t, None]
        out.append((state * leave[:, t, None]).sum(-1))
    return torch.stack(out, 1)


@pytest.mark.parametrize("chunk", [1, 16, 64, 512])
def test_chunks_give_what_single_steps_give(chunk: int) -> None:
    torch.testing.assert_close(selective_scan(*parts(300), chunk=chunk), one_by_one(*parts(300)), atol=1e-5, rtol=1e-5)


def _in_chunks_of_16(x: Tensor, step: Tensor, decay: Tensor, enter: Tensor, leave: Tensor) -> Tensor:
    return selective_scan(x, step, decay, enter, leave, chunk=16)


def test_gradients() -> None:
    given = tuple(part.requires_grad_() for part in parts(37, 2, 3, torch.float64))
    assert torch.autograd.gradcheck(_in_chunks_of_16, given)


def test_long_and_steep_decays_do_not_overflow() -> None:
    x, step, decay, enter, leave = parts(1000)
    out = selective_scan(x, 50 * step, 20 * decay, enter, leave)
    assert bool(torch.isfinite(out).all())


def test_the_past_alone_matters() -> None:
    torch.manual_seed(0)
    scan = Scan(8).eval()
    x, gate = torch.randn(1, 100, 8), torch.randn(1, 100, 8)
    later = x.clone()
    later[:, 60:] += 1
    with torch.inference_mode():
        first, second = scan(x, gate), scan(later, gate)
    torch.testing.assert_close(first[:, :60], second[:, :60])
    assert not torch.allclose(first[:, 60:], second[:, 60:])


def test_weights_of_the_papers_size() -> None:
    # A Mamba of 32 channels has 9,920: this, and the projections to twice 64 channels and back.
    assert sum(weight.numel() for weight in Scan(64).parameters()) == 9_920 - 32 * 128 - 64 * 32
