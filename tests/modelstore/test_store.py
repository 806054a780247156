from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from clippan_cli.base.files import replace_file
from clippan_cli.errors import ModelError, OutputError
from clippan_cli.modelstore import store
from clippan_cli.modelstore.model import STORE, find_model, read_model
from clippan_cli.modelstore.records import ModelRecord, TrainingRecord
from clippan_cli.modelstore.store import CARD, digest, pack
from clippan_cli.modelstore.supervisor import STORE as SUPERVISORS
from tests.modelstore.test_records import MODEL

STATE = {"a": torch.arange(6.0).view(2, 3).t(), "b": torch.tensor(2)}

OLD_MODEL = """
id = "old"
network = "injector"
bands = 0
ratios = [ 2, 8.0 ]
sha256 = "51a9"

[settings]
width = 32

[training]
rate = 0.004
init = "injector-1"
minutes = 79
images = [ "a", "b" ]

[training.settings]

[training.sources]
images = 9

[training.losses]
language = 1.0
"""

OLD_SUPERVISOR = """
bands = 4
wavelengths = [ 480.0, 0.0, 0.0, 0.0 ]
ms_input = "conv"
sha256 = "51a9"

[clip]
name = "RN50"
weights = "openai"
precision = "fp32"
sha256 = "51a9"
mean = [ 0.5, 0.5, 0.5 ]
deviation = [ 0.2, 0.2, 0.2 ]
config = ""

[prompts]
name = "wald"
ms = "a"
pan = "b"
hrms = "c"
distorted = "d"

[training]
clip = "RN50"
skipped = 3
version = "0.1.0"

[held_out]
cosine = 0.5
"""


@pytest.fixture
def umask() -> Iterator[None]:
    former = os.umask(0o027)
    yield
    os.umask(former)


def seal(folder: Path, card: str | None = "# m") -> ModelRecord:
    weights = pack(STATE)
    record = ModelRecord(
        id=folder.name, network="pnn", settings={"widths": [6, 4]}, bands=3, ratios=(2.0, 6.0), sha256=digest(weights)
    )
    STORE.write(folder, weights, record, card)
    return record


def test_there_and_back(tmp_path: Path) -> None:
    record = seal(tmp_path / "m")
    assert STORE.read(tmp_path / "m") == record
    found = STORE.load(tmp_path / "m", record)
    assert set(found) == set(STATE)
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)
    assert (tmp_path / "m" / CARD).read_text("utf-8") == "# m"
    assert {path.name for path in (tmp_path / "m").iterdir()} == {STORE.weights, STORE.record, CARD}


def test_a_card_is_not_needed(tmp_path: Path) -> None:
    seal(tmp_path / "m", card=None)
    assert not (tmp_path / "m" / CARD).exists()


@pytest.mark.usefixtures("umask")
def test_permissions_are_the_users_own(tmp_path: Path) -> None:
    seal(tmp_path / "m")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "m").iterdir()} == {0o640}


@pytest.mark.parametrize("failing", [STORE.weights, CARD, STORE.record])
def test_half_a_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Whichever file no longer fits onto the disk: what was sealed before is not taken for it."""
    seal(tmp_path / "m")

    def full(path: Path, content: bytes) -> None:
        if path.name == failing:
            raise OSError(28, "No space left on device")
        replace_file(path, content)

    monkeypatch.setattr(store, "replace_file", full)
    with pytest.raises(OutputError, match=r"cannot write the model .*No space left"):
        seal(tmp_path / "m")
    assert not (tmp_path / "m" / STORE.record).exists()
    with pytest.raises(ModelError, match=r"cannot use .*No such file"):
        read_model(tmp_path / "m")


def test_weights_that_are_not_what_the_record_says(tmp_path: Path) -> None:
    record = seal(tmp_path / "m")
    weights = tmp_path / "m" / STORE.weights
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"is not what model\.toml describes: sha256 .*…, stated .*…"):
        STORE.load(tmp_path / "m", record)
    weights.write_bytes(good)
    STORE.verify(tmp_path / "m", record)
    with pytest.raises(ModelError, match="stated 000000000000…"):
        STORE.verify(tmp_path / "m", MODEL)
    weights.unlink()
    with pytest.raises(ModelError, match=r"cannot read .*No such file"):
        STORE.verify(tmp_path / "m", record)


def test_a_file_that_holds_no_weights(tmp_path: Path) -> None:
    record = ModelRecord(id="m", network="pnn", settings={}, bands=3, ratios=(2.0, 6.0), sha256=digest(b"nonsense"))
    STORE.write(tmp_path / "m", b"nonsense", record)
    with pytest.raises(ModelError, match="holds no weights"):
        STORE.load(tmp_path / "m", record)


def test_older_records_are_read(tmp_path: Path) -> None:
    """Options stood among the fields of a training."""
    (tmp_path / STORE.record).write_text(OLD_MODEL, "utf-8")
    model = find_model(str(tmp_path))
    assert (model.bands, model.ratios, model.record.weights) == (None, (2.0, 8.0), 0)
    assert model.record.training == TrainingRecord(
        init="injector-1",
        minutes=79.0,
        sources={"images": 9},
        options={"rate": 0.004, "images": ["a", "b"], "settings": {}, "losses": {"language": 1.0}},
    )
    (tmp_path / SUPERVISORS.record).write_text(OLD_SUPERVISOR, "utf-8")
    record = SUPERVISORS.read(tmp_path)
    assert record.training == TrainingRecord(version="0.1.0", skipped=3, options={"clip": "RN50"})
    assert record.held_out == {"cosine": 0.5}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('sha256 = "51a9"', "", "it is not complete: it has no 'sha256'"),
        ("ratios = [ 2, 8.0 ]", "ratios = [ 2 ]", "length 2, got 1"),
        ("[training.sources]\nimages = 9", "[training.sources]\nimages = 'many'", r"Expected `int`.*\.sources"),
        ('id = "old"', "id = ", "Invalid value"),
    ],
)
def test_records_that_cannot_be_used(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in OLD_MODEL
    (tmp_path / STORE.record).write_text(OLD_MODEL.replace(old, new), "utf-8")
    with pytest.raises(ModelError, match=f"cannot use .*(?:{message})"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("training = 3", r"Expected `object`, got `int` - at `\$\.training`"),
        ("[training]\nheld_out = 3", r"Expected `object`, got `int` - at `\$\.training\.held_out`"),
        ("[training]\noptions = 3", "'int' object is not a mapping"),
    ],
)
def test_a_training_that_is_none(tmp_path: Path, training: str, message: str) -> None:
    (tmp_path / STORE.record).write_text(OLD_MODEL.split("[settings]")[0] + "settings = {}\n" + training, "utf-8")
    with pytest.raises(ModelError, match=f"cannot use .*{message}"):
        read_model(tmp_path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / STORE.record).write_bytes(b'id = "\xff"')
    with pytest.raises(ModelError, match="cannot use"):
        read_model(tmp_path)
