"""The selective scan of Mamba (Gu and Dao 2023), in chunks, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 64
"""The number of steps that are taken at once."""


def selective_scan(
    x: Tensor, step: Tensor, decay: Tensor, enter: Tensor, leave: Tensor, *, chunk: int = CHUNK
) -> Tensor:
    """Work out ``s_t = exp(Δ_t A)·s_{t-1} + Δ_t B_t x_t``, ``y_t = C_t·s_t``.

    All chunks are scanned at the same time, each from a state of zero; then the states at their ends are carried from
    chunk to chunk, and what each has inherited is added. No exponent is positive, so nothing overflows.

    Args:
        x: ``(B, L, D)``, the tokens.
        step: ``(B, L, D)``, Δ, positive.
        decay: ``(D, N)``, A, negative.
        enter: ``(B, L, N)``, B.
        leave: ``(B, L, N)``, C.
        chunk: The number of steps in a chunk.

    Returns:
        ``(B, L, D)``.
    """
    length = x.shape[1]
    x, step, enter, leave = (_cut(part, chunk) for part in (x, step, enter, leave))
    driven = (step * x)[..., None] * enter[..., None, :]
    state = torch.zeros_like(driven[:, :, 0])
    own = []
    for at in range(chunk):
        state = torch.exp(step[:, :, at, :, None] * decay) * state + driven[:, :, at]
        own.append((state * leave[:, :, at, None]).sum(-1))
    total = step.cumsum(2)
    inherited = _inherited(state, torch.exp(total[:, :, -1, :, None] * decay))
    faded = torch.exp(total[..., None] * decay) * inherited[:, :, None]
    y = torch.stack(own, 2) + (faded * leave[..., None, :]).sum(-1)
    return y.flatten(1, 2)[:, :length]


def _cut(x: Tensor, chunk: int) -> Tensor:
    """Cut ``(B, L, …)`` into ``(B, chunks, chunk, …)``; the last is filled with zeros, which leave a state as it is."""
    filled = F.pad(x, (0, 0, 0, -x.shape[1] % chunk))
    return filled.reshape(x.shape[0], -1, chunk, x.shape[-1])


def _inherited(ends: Tensor, fades: Tensor) -> Tensor:
    """Return the state that each chunk takes over, by the states at their ends and how a state fades through each."""
    state, out = torch.zeros_like(ends[:, 0]), []
    for end, fade in zip(ends.unbind(1), fades.unbind(1), strict=True):
        out.append(state)
        state = fade * state + end
    return torch.stack(out, 1)


class Scan(nn.Module):
    """Runs one direction of Mamba: a short convolution, the selection, the scan, and a gate.

    Args:
        width: The number of channels inside.
        states: The number of states of each channel.
        rank: The rank of the projection to the steps.
        taps: The number of taps of the convolution.
    """

    def __init__(self, width: int, states: int = 16, rank: int = 2, taps: int = 4) -> None:
        super().__init__()
        self._split = (rank, states, states)
        self.short = nn.Conv1d(width, width, taps, groups=width, padding=taps - 1)
        self.select = nn.Linear(width, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, width)
        self.log_decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.skip = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Turn tokens and their gates, both ``(B, L, width)``, into the same shape."""
        x = F.silu(self.short(x.mT)[..., : x.shape[1]].mT)
        rank, enter, leave = self.select(x).split(self._split, -1)
        step = F.softplus(self.step(rank))
        y = selective_scan(x, step, -self.log_decay.exp(), enter, leave)
        out: Tensor = (y + self.skip * x) * F.silu(gate)
        return out
