"""The gradient test: whether losses point to the truth, where it is known."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch

from clippan_cli.errors import InputError, Interrupted, OutputError, UsageError
from clippan_cli.modelstore.supervisor import save_supervisor
from clippan_cli.opening.options import SceneOptions
from clippan_cli.scene.find import find_all
from clippan_cli.supervision.encoder import Encoder
from clippan_cli.supervision.projector import Differences, Projector, linear_map
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training import gradient as measuring
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.reduced_scene import reduce_scene
from clippan_cli.training.gradient import CONTROL, TABLE, Cosine, GradientTest, measure_gradients
from clippan_cli.training.options import TrainOptions
from tests.training.conftest import CPU, Put, Said

OPTIONS = TrainOptions(supervisor="none", device="cpu")
LOSSES = ("spectral", "spatial", "quality", "structure")
STARTS = ("exp", "classical", "init")


@pytest.fixture
def place(put: Put) -> Path:
    put("a", size=80)
    return put("b", size=88, seed=5)


def known(test: GradientTest) -> dict[tuple[str, str], Cosine]:
    return {(row.loss, row.start): row for row in test.rows}


def test_the_table_of_two_scenes(place: Path, tmp_path: Path) -> None:
    said = Said()
    found = measure_gradients([str(place)], tmp_path / "t", OPTIONS, said)
    assert (found.output, found.scenes, said.lines) == (str(tmp_path / "t"), ["a", "b"], [])
    rows = known(found)
    wanted = {(loss, start) for loss in (*LOSSES, CONTROL) for start in STARTS}
    # From what the network made there is no way to it.
    assert set(rows) == wanted | {("teacher", "exp"), ("teacher", "classical")}
    for row in found.rows:
        numbers = row.mean, row.error, row.free, row.free_error
        assert all(math.isfinite(number) for number in numbers)
        assert abs(row.mean) <= 1 >= abs(row.free)
        assert min(row.error, row.free_error) >= 0
        assert row.helps == (row.mean > 2 * row.error)
    with (tmp_path / "t" / TABLE).open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["loss", "start", "mean", "error", "free", "free_error"]
    assert [(line["loss"], line["start"]) for line in table] == [(row.loss, row.start) for row in found.rows]
    assert [float(line["mean"]) for line in table] == [row.mean for row in found.rows]


def test_what_losses_are_worth_on_ground_that_is_known(place: Path, tmp_path: Path) -> None:
    """Interpolation lacks PAN's detail: more of it points to the truth, and so does a network that has it."""
    rows = known(measure_gradients([str(place)], tmp_path / "t", OPTIONS))
    assert rows[CONTROL, "exp"].mean > 0.5
    assert rows["teacher", "exp"].mean > 0.5
    for loss in ("spatial", "structure"):
        assert rows[loss, "exp"].helps
    # The control is PAN's gain itself: without it nothing is left.
    for start in STARTS:
        assert abs(rows[CONTROL, start].free) < 0.05
    # A network that is there already lacks less of it.
    assert rows[CONTROL, "init"].mean < rows[CONTROL, "exp"].mean


def test_one_scene_has_no_error_and_helps_nobody(place: Path, tmp_path: Path) -> None:
    found = measure_gradients([str(place / "a")], tmp_path / "t", OPTIONS)
    assert found.scenes == ["a"]
    assert all(math.isfinite(row.mean) and math.isfinite(row.free) for row in found.rows)
    assert all(math.isnan(row.error) and not row.helps for row in found.rows)


def test_a_mean_over_scenes(place: Path, tmp_path: Path) -> None:
    both = known(measure_gradients([str(place)], tmp_path / "both", OPTIONS))
    alone = [known(measure_gradients([str(place / name)], tmp_path / name, OPTIONS)) for name in "ab"]
    for key, row in both.items():
        one, other = (each[key] for each in alone)
        assert row.mean == pytest.approx((one.mean + other.mean) / 2, abs=2e-4)
        # Two values lie half their difference from their mean, and so far is its standard error.
        assert row.error == pytest.approx(abs(one.mean - other.mean) / 2, abs=2e-4)
        assert row.free_error == pytest.approx(abs(one.free - other.free) / 2, abs=2e-4)


@pytest.fixture
def pair(place: Path) -> Batch:
    (files,) = find_all([str(place / "a")])
    lesson = reduce_scene(files, SceneOptions(), CPU, Said())[2]
    return lesson.surround(lesson.area)[0]


def test_what_points_to_the_truth_and_what_away_from_it(pair: Batch) -> None:
    space = measuring._Unmeasured(pair)
    lacking = space.keep(pair.truth - pair.ms_up)

    def distance(image: torch.Tensor) -> torch.Tensor:
        return ((image - pair.truth) / pair.context.deviation[..., None, None]).square().mean()

    assert space.compare(space.descend(distance, pair.ms_up), lacking) == pytest.approx((1, 1), abs=0.02)
    away = space.descend(lambda image: -distance(image), pair.ms_up)
    assert space.compare(away, lacking) == pytest.approx((-1, -1), abs=0.02)
    # What MS says back-projection sees to: a loss that asks for that alone asks for nothing.
    brighter = space.descend(lambda image: -image.mean(), pair.ms_up)
    assert abs(space.compare(brighter, lacking)[0]) < 0.05
    assert space.compare(0 * lacking, lacking) == (0, 0)


def test_the_unit_of_a_band_changes_no_direction(pair: Batch) -> None:
    space = measuring._Unmeasured(pair)
    change, other = space.keep(pair.truth - pair.ms_up), space.keep(pair.pan - pair.ms_up)
    plain, scaled = space.compare(change, other), space.compare(3 * change, 0.1 * other)
    assert scaled == pytest.approx(plain, abs=1e-5)
    assert measuring._cosine(change, change) == pytest.approx(1, abs=1e-5)


def test_a_table_is_not_replaced_unasked(place: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / TABLE).write_text("mine")
    with pytest.raises(OutputError, match="holds a table") as caught:
        measure_gradients([str(place / "a")], tmp_path / "t", OPTIONS)
    assert "`overwrite`" in caught.value.hint
    assert (tmp_path / "t" / TABLE).read_text() == "mine"
    measure_gradients([str(place / "a")], tmp_path / "t", replace(OPTIONS, overwrite=True))
    assert (tmp_path / "t" / TABLE).read_text().startswith("loss,start,")


def test_scenes_that_cannot_be_used(put: Put, tmp_path: Path) -> None:
    put("small", size=30)
    place, said = put("good", size=80), Said()
    assert measure_gradients([str(place)], tmp_path / "t", OPTIONS, said).scenes == ["good"]
    (line,) = said.lines
    assert line.startswith("warning: scene small is left out: scene small: MS of 30 × 30 px is too small")
    with pytest.raises(InputError, match="none of the scenes can be used"):
        measure_gradients([str(place / "small")], tmp_path / "n", OPTIONS, said)
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("size", [64, 76])
def test_small_scenes_are_measured_or_left_out(put: Put, tmp_path: Path, size: int) -> None:
    """SSIM needs room, which the smallest scenes that can be brought one scale down do not have."""
    put("good", size=80)
    place, said = put("small", size=size), Said()
    found = measure_gradients([str(place)], tmp_path / "t", OPTIONS, said)
    assert "good" in found.scenes
    assert ("small" in found.scenes) != any("scene small is left out" in line for line in said.lines)


def test_what_is_wrong_is_said_at_once(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "reduce_scene", None)
    for options, what in (
        (replace(OPTIONS, init="magic"), "no method or model 'magic'"),
        (replace(OPTIONS, supervisor=str(tmp_path)), "no supervisor in"),
        (replace(OPTIONS, scene=SceneOptions(sensor="sputnik")), "unknown sensor"),
    ):
        with pytest.raises(UsageError, match=what):
            measure_gradients([str(place)], tmp_path / "t", options)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="clippan ablate gradient works in one process"):
        measure_gradients([str(place)], tmp_path / "t", OPTIONS)


def test_it_can_be_stopped_between_scenes(place: Path, tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted, match="stopped between scenes"):
        measure_gradients([str(place)], tmp_path / "t", OPTIONS, Said(), stop)
    assert not (tmp_path / "t").exists()


def test_a_table_that_cannot_be_written(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*gradient\.csv"):
        measure_gradients([str(place / "a")], tmp_path / "file" / "t", OPTIONS)


def test_language_is_measured_where_somebody_looks(place: Path, tmp_path: Path, tiny_clip: str) -> None:
    torch.manual_seed(0)
    save_supervisor(tmp_path / "s", Supervisor(Encoder(tiny_clip), Differences(), read_prompts()))
    found = measure_gradients([str(place / "a")], tmp_path / "t", replace(OPTIONS, supervisor=str(tmp_path / "s")))
    assert [row.start for row in found.rows if row.loss == "language"] == list(STARTS)
    assert all(math.isfinite(row.mean) for row in found.rows)


def test_a_supervisor_of_other_bands_is_refused(place: Path, tmp_path: Path, tiny_clip: str) -> None:
    torch.manual_seed(0)
    base = linear_map("pca", (None,) * 3, torch.zeros(3), torch.eye(3))
    save_supervisor(tmp_path / "s", Supervisor(Encoder(tiny_clip), Projector("pca", *base), read_prompts(), (0.0,) * 3))
    with pytest.raises(UsageError, match="looks at 3 bands, a has 4"):
        measure_gradients([str(place / "a")], tmp_path / "t", replace(OPTIONS, supervisor=str(tmp_path / "s")))


def test_a_table_for_people() -> None:
    rows = [
        Cosine(loss=loss, start=start, mean=0.25, error=0.01, free=-0.5, free_error=0.125)
        for loss, starts in (("quality", STARTS), ("teacher", STARTS[:2]))
        for start in starts
    ]
    lines = list(GradientTest(output="t", scenes=["a"], rows=rows).lines())
    assert lines[0].split() == ["exp", "without", "gain", "classical", "without", "gain", "init", "without", "gain"]
    assert lines[1].split() == ["quality", *(["0.250", "±0.010", "-0.500", "±0.125"] * 3)]
    assert lines[2].split() == ["teacher", *(["0.250", "±0.010", "-0.500", "±0.125"] * 2), "–", "–"]
    assert len({len(line) for line in lines}) == 1
