from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clippan_cli.errors import Interrupted, ModelError
from clippan_cli.modelstore.supervisor import load_clip, load_supervisor, looks_at_differences, verify_supervisor
from clippan_cli.training import teach as teaching_command
from clippan_cli.training.loop import steps
from clippan_cli.training.objectives import teaching
from clippan_cli.training.options import TeachOptions
from clippan_cli.training.teach import teach
from tests.training.conftest import Said

OPTIONS = TeachOptions(procedural=1, places=44, iterations=2, batch=1, every=1, device="cpu")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, short_pairs: None) -> None:
    monkeypatch.setattr(teaching, "_CHECKS", 1)
    monkeypatch.setattr(teaching, "_KEPT", 2)
    config = {**teaching_command.CONFIG, "vision_cfg": {**teaching_command.CONFIG["vision_cfg"], "image_size": 32}}
    monkeypatch.setattr(teaching_command, "CONFIG", config)
    monkeypatch.setattr(steps, "draw_curves", lambda *_: None)


@pytest.fixture
def taught(tmp_path: Path) -> Path:
    return Path(teach(tmp_path / "mine", OPTIONS).output)


def test_what_is_taught_supervises_any_number_of_bands(taught: Path) -> None:
    supervisor = load_supervisor(taught)
    assert (supervisor.bands, supervisor.projector.kind) == (0, "differences")
    for bands in (1, 4, 8):
        image = torch.rand(2, bands, 64, 64)
        assert supervisor.directional(image, torch.rand_like(image), torch.rand(2, 1, 64, 64)).shape == (2,)
    assert "Spearman" not in (taught / "CARD.md").read_text()
    assert "rank correlation" in (taught / "CARD.md").read_text()


def test_its_clip_can_be_adapted(taught: Path) -> None:
    assert looks_at_differences(str(taught))
    assert not looks_at_differences("ViT-B-32-quickgelu")
    encoder = load_clip(str(taught), None)
    assert encoder.side == 32
    assert encoder.mean.flatten().tolist() == [0.5] * 3


def test_a_damaged_clip_is_refused(taught: Path) -> None:
    verify_supervisor(taught)
    clip = taught / "clip.safetensors"
    clip.write_bytes(clip.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="is not what supervisor"):
        verify_supervisor(taught)
    with pytest.raises(ModelError, match="was adapted to another CLIP"):
        load_supervisor(taught)


def test_a_teaching_that_was_stopped_ends_the_same(taught: Path, tmp_path: Path) -> None:
    said = Said(stop_at=45)  # 44 places, one step
    with pytest.raises(Interrupted):
        teach(tmp_path / "parts" / "mine", OPTIONS, said, said.stop)
    teach(tmp_path / "parts" / "mine", TeachOptions(**{**vars(OPTIONS), "resume": True}))
    for name in ("clip.safetensors", "supervisor.safetensors"):
        assert (tmp_path / "parts" / "mine" / name).read_bytes() == (taught / name).read_bytes()
