from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clippan_cli.errors import ClippanError, ModelError, OutputError, UsageError
from clippan_cli.modelstore import model as on_disk
from clippan_cli.modelstore import store
from clippan_cli.modelstore.model import Model, find_model, read_model, save_model, shipped
from clippan_cli.networks.registry import network


@pytest.fixture
def saved(tmp_path: Path) -> Model:
    """A small network that is not plain interpolation."""
    torch.manual_seed(0)
    made = network("pnn", 3, widths=(6, 4))
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    size = {"widths": (6, 4)}
    return save_model(tmp_path / "small", made, name="pnn", settings=size, ratios=(2, 6), card="# small")


def edit(model: Model, old: str, new: str) -> Path:
    path = model.folder / on_disk.RECORD
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return model.folder


def test_comes_back_as_it_was(saved: Model) -> None:
    torch.manual_seed(0)
    made = network("pnn", 3, widths=(6, 4))
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    ms_up, pan = torch.rand(1, 3, 24, 24), torch.rand(1, 1, 24, 24)
    back = find_model(str(saved.folder))
    assert (back.id, back.bands, back.ratios, back.settings) == ("small", 3, (2.0, 6.0), {"widths": [6, 4]})
    torch.testing.assert_close(back.load()(ms_up, pan), made(ms_up, pan))


def test_defaults_are_remembered(tmp_path: Path) -> None:
    """A default that changes later must not change what an old model is."""
    made = network("injector", 1)
    model = save_model(tmp_path / "m", made, name="injector", settings={}, ratios=(2, 8), card="")
    assert model.settings == {"width": 32, "blocks": 3}
    assert model.bands is None


def test_what_ships_is_sound_and_small() -> None:
    found = shipped()
    assert found
    for model in found:
        assert not model.load().training
        assert (model.folder / store.CARD).is_file()
        assert sum(path.stat().st_size for path in model.folder.iterdir()) < 4 << 20


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_weights_are_refused(saved: Model, damage: bytes | None) -> None:
    path = saved.folder / on_disk.WEIGHTS
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-4] + damage)
    with pytest.raises(ModelError, match=r"cannot read|is not what model.toml describes"):
        saved.load()


def test_weights_of_another_architecture_are_refused(saved: Model) -> None:
    folder = edit(saved, "    6,\n    4,\n", "    6,\n    5,\n")
    with pytest.raises(ModelError, match=r"do not fit pnn .*'widths': \[6, 5\]"):
        read_model(folder).load()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('network = "pnn"', 'network = "resnet"', "unknown architecture, 'resnet'"),
        ("bands = 3", "", "it has no 'bands'"),
        ("bands = 3", 'bands = "many"', r"Expected `int`, got `str` - at `\$.bands`"),
        ('id = "small"', "id = small", "Invalid value"),
    ],
)
def test_edited_records_are_refused(saved: Model, old: str, new: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_model(str(edit(saved, old, new)))


def test_scenes_it_was_not_made_for(saved: Model) -> None:
    saved.check_fit(3, 4.015)
    with pytest.raises(ModelError, match="for 3 bands, MS has 4"):
        saved.check_fit(4, 4.0)
    with pytest.raises(ModelError, match="ratios of 2 to 6, this scene has 8"):
        saved.check_fit(3, 8.0)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no method or model 'magic'") as caught:
        find_model("magic")
    assert "injector-4" in caught.value.hint
    with pytest.raises(ClippanError):
        find_model(str(tmp_path))


def test_a_full_disk_leaves_no_model(saved: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "replace_file", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(saved.folder, network("pnn", 3), name="pnn", settings={}, ratios=(2, 6), card="")
    assert not (saved.folder / on_disk.RECORD).exists()
