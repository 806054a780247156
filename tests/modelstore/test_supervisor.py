from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
import torch

from clippan_cli.errors import ModelError, UsageError
from clippan_cli.modelstore.records import TrainingRecord, as_table
from clippan_cli.modelstore.supervisor import load_supervisor, read_record, save_supervisor
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Projector, linear_map
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor


@pytest.fixture
def made(tiny_clip: str) -> Supervisor:
    torch.manual_seed(0)
    base = linear_map("conv", (None,) * 4, torch.zeros(4), torch.eye(4))
    return Supervisor(Encoder(tiny_clip), Projector("conv", *base), read_prompts(), (480.0, 545.0, 660.0, None))


def test_the_gradient_reaches_every_fused_pixel(made: Supervisor) -> None:
    fused = torch.rand(2, 4, 64, 64, requires_grad=True)
    loss = made.directional(fused, torch.rand(2, 4, 64, 64), torch.rand(2, 1, 64, 64))
    assert loss.shape == (2,)
    (gradient,) = torch.autograd.grad(loss.sum(), fused)
    assert torch.isfinite(gradient).all()
    assert float((gradient.abs().sum(1) > 0).float().mean()) > 0.9


def test_it_looks_at_its_own_bands_only(made: Supervisor, tmp_path: Path) -> None:
    save_supervisor(tmp_path / "s", made)
    again = load_supervisor(tmp_path / "s")
    again.check_fit("a", (490.0, None, 670.0, 830.0))
    with pytest.raises(UsageError, match="looks at 4 bands, a has 3"):
        again.check_fit("a", (480.0, 545.0, 660.0))
    with pytest.raises(UsageError, match="band 1 of a lies at 830 nm, the supervisor's at 480 nm"):
        again.check_fit("a", (830.0, 545.0, 660.0, 480.0))


def test_clip_is_no_part_of_its_state(made: Supervisor) -> None:
    assert not any("encoder" in name for name in made.state_dict())
    assert all(weight.requires_grad for weight in made.parameters())


def test_large_tiles_are_cut_and_small_ones_enlarged(made: Supervisor) -> None:
    x = torch.rand(1, 4, 80, 96)
    assert torch.equal(made.see_bands(x, "ms"), made.see_bands(x[..., 8:72, 16:80], "ms"))
    assert made.see_pan(torch.rand(1, 1, 40, 40)).shape == (1, 32)


def test_from_disk_it_says_the_same(made: Supervisor, tmp_path: Path) -> None:
    for weight in made.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    record = save_supervisor(tmp_path / "s", made, TrainingRecord(options={"iterations": 3}), {"cosine": 0.5})
    assert (record.bands, record.training.options, record.held_out) == (4, {"iterations": 3}, {"cosine": 0.5})
    again = load_supervisor(tmp_path / "s")
    tiles = torch.rand(2, 4, 64, 64), torch.rand(2, 4, 64, 64), torch.rand(2, 1, 64, 64)
    assert torch.allclose(again.directional(*tiles), made.directional(*tiles).detach(), atol=1e-5)
    assert not any(weight.requires_grad for weight in again.parameters())


def test_what_cannot_be_used(made: Supervisor, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with pytest.raises(UsageError, match="no supervisor in"):
        load_supervisor(folder)
    record = save_supervisor(folder, made)
    other = replace(record, clip=replace(record.clip, sha256="0" * 64))
    (folder / "supervisor.toml").write_text(tomli_w.dumps(as_table(other)))
    with pytest.raises(ModelError, match="was adapted to another CLIP"):
        load_supervisor(folder)
    save_supervisor(folder, made)
    weights = folder / "supervisor.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="is not what supervisor"):
        load_supervisor(folder)
    (folder / "supervisor.toml").write_text("bands = 4")
    with pytest.raises(ModelError, match="it is not complete"):
        read_record(folder)
