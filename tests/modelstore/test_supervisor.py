from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
import torch

from clippan_cli.errors import ModelError, UsageError
from clippan_cli.modelstore.records import TrainingRecord, as_table
from clippan_cli.modelstore.supervisor import find_supervisor, load_clip, load_supervisor, read_record, save_supervisor
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Differences, Projector, linear_map
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.procedural import procedural


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
    x, pan = torch.rand(1, 4, 80, 96), torch.rand(1, 1, 80, 96)
    inner = (..., slice(8, 72), slice(16, 80))
    assert torch.equal(made.see_bands(x, x, pan, "ms"), made.see_bands(x[inner], x[inner], pan[inner], "ms"))
    assert made.see_pan(torch.rand(1, 1, 40, 40), torch.rand(1, 4, 40, 40)).shape == (1, 32)


def test_what_is_larger_than_clip_looks_at_is_looked_at_in_parts(made: Supervisor) -> None:
    """Each part counts alike; what is left at the edges is not seen."""
    images = torch.rand(2, 4, 150, 200), torch.rand(2, 4, 150, 200), torch.rand(2, 1, 150, 200)
    whole = made.directional(*images)
    assert whole.shape == (2,)
    corners = [(11 + 64 * row, 4 + 64 * col) for row in range(2) for col in range(3)]
    parts = [made.directional(*(x[..., r : r + 64, c : c + 64] for x in images)) for r, c in corners]
    torch.testing.assert_close(whole, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)
    small = tuple(x[..., :60, :200] for x in images)
    assert made.directional(*small).shape == (2,)


def supervisor(clip: str, adapters: str = "shared") -> Supervisor:
    """A supervisor that looks at differences, with adapters that have learned something."""
    torch.manual_seed(0)
    made = Supervisor(Encoder(clip), Differences(), read_prompts(), adapters=adapters)
    for weight in made.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return made.requires_grad_(requires_grad=False)


def test_who_looks_at_differences_takes_any_bands_in_any_order(tiny_clip: str) -> None:
    made = supervisor(tiny_clip)
    made.check_fit("a", (480.0, None, 660.0))
    for count in (1, 3, 8):
        fused, ms, pan = torch.rand(2, count, 64, 64), torch.rand(2, count, 64, 64), torch.rand(2, 1, 64, 64)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
        for kind in ("ms", "hrms"):
            plain = made.see_bands(fused, ms, pan, kind)
            assert plain.shape == (2, 32)
            torch.testing.assert_close(made.see_bands(fused[:, order], ms[:, order], pan, kind), plain)
        torch.testing.assert_close(made.see_pan(pan, ms[:, order]), made.see_pan(pan, ms))
        torch.testing.assert_close(
            made.directional(fused[:, order], ms[:, order], pan), made.directional(fused, ms, pan), rtol=1e-4, atol=1e-4
        )


def test_an_image_is_seen_as_the_mean_of_its_bands(tiny_clip: str) -> None:
    made = supervisor(tiny_clip)
    x, ms, pan = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    alone = [made.encoder.images(made.projector(x[:, k : k + 1], ms[:, k : k + 1], pan)[:, 0]) for k in range(3)]
    mean = torch.nn.functional.normalize(torch.stack(alone).mean(0), dim=1)
    torch.testing.assert_close(made.see_bands(x, ms, pan, "ms"), made.adapters.of_image("ms")(mean))


def test_where_the_adapter_is_shared_the_kind_changes_nothing(tiny_clip: str) -> None:
    x, ms, pan = torch.rand(2, 4, 64, 64), torch.rand(2, 4, 64, 64), torch.rand(2, 1, 64, 64)
    for adapters, alike in (("shared", True), ("six", False)):
        made = supervisor(tiny_clip, adapters)
        seen = [made.see_bands(x, ms, pan, kind) for kind in ("ms", "pan", "hrms")]
        seen_pan = [made.see_pan(pan, ms, kind) for kind in ("pan", "ms")]
        assert all(torch.equal(seen[0], other) == alike for other in seen[1:])
        assert torch.equal(*seen_pan) == alike
        # The texts have adapters of their own in any case.
        assert len(made.adapters.text) == 3


@pytest.mark.parametrize("adapters", ["shared", "six"])
def test_both_forms_come_back_from_disk(tiny_clip: str, tmp_path: Path, adapters: str) -> None:
    made = supervisor(tiny_clip, adapters)
    record = save_supervisor(tmp_path / "s", made)
    assert (record.bands, record.wavelengths, record.ms_input, record.adapters) == (0, (), "differences", adapters)
    again = load_supervisor(tmp_path / "s")
    assert isinstance(again.projector, Differences)
    assert (again.bands, again.adapters.form) == (0, adapters)
    tiles = torch.rand(2, 5, 64, 64), torch.rand(2, 5, 64, 64), torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(again.directional(*tiles), made.directional(*tiles))


def test_a_record_that_says_nothing_of_adapters_has_six(tiny_clip: str, tmp_path: Path) -> None:
    """As older versions wrote it."""
    made = supervisor(tiny_clip, "six")
    save_supervisor(tmp_path / "s", made)
    lines = (tmp_path / "s" / "supervisor.toml").read_text("utf-8").splitlines()
    assert not any(line.startswith("adapters") for line in lines)
    assert load_supervisor(tmp_path / "s").adapters.form == "six"
    save_supervisor(tmp_path / "t", supervisor(tiny_clip))
    assert 'adapters = "shared"' in (tmp_path / "t" / "supervisor.toml").read_text("utf-8").splitlines()


def test_a_card_lies_beside_the_record(made: Supervisor, tmp_path: Path) -> None:
    save_supervisor(tmp_path / "s", made)
    assert not (tmp_path / "s" / "CARD.md").exists()
    save_supervisor(tmp_path / "s", made, card=lambda record: f"# {record.id} of {record.bands} bands")
    assert (tmp_path / "s" / "CARD.md").read_text("utf-8") == "# s of 4 bands"


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


def test_the_one_that_ships_tells_sharp_from_soft() -> None:
    made = load_supervisor(find_supervisor("supervisor-1"))
    made.check_fit("a", (None,) * 7)
    sharp = procedural(4, 192, Draw(3))[None]
    sharp = (sharp - sharp.amin((2, 3), keepdim=True)) / (
        sharp.amax((2, 3), keepdim=True) - sharp.amin((2, 3), keepdim=True)
    )
    ms = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    pan = sharp.mean(1, keepdim=True)
    half = (sharp + ms) / 2
    scores = [float(made.score(image, ms, pan)) for image in (sharp, half, ms)]
    assert scores == sorted(scores, reverse=True)


def test_what_ships_is_found_by_its_id() -> None:
    assert find_supervisor("supervisor-1").name == "supervisor-1"
    assert load_clip("supervisor-1", None).side == 64
    with pytest.raises(UsageError, match="no supervisor in nowhere") as caught:
        find_supervisor("nowhere")
    assert "supervisor-1" in caught.value.hint
