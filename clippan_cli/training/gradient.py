"""The gradient test: does a loss of stage II point to the truth, where an image is good already?

One scale down the truth is known. From an image a loss asks for the change -∇L; what the image lacks is truth - image.
What MS measures is taken out of both, for back-projection sees to that; their cosine says what the loss is worth. The
control is PAN's detail, times one number for all of a band: a loss that only asks for more of it is no teacher, so that
each cosine is measured once more without that part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from threading import Event

import torch
from torch import Tensor

from clippan_cli.base.files import replace_table
from clippan_cli.base.geometry import Box, trim
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.errors import ClippanError, InputError, Interrupted, OutputError
from clippan_cli.fusion.moments import tile_moments
from clippan_cli.fusion.registry import method
from clippan_cli.fusion.traits import FEATURES
from clippan_cli.fusion.whole import fuse_whole
from clippan_cli.metrics.reference import ergas
from clippan_cli.modelstore.model import find_model
from clippan_cli.networks.network import Network
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.scene.find import find_all
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.learned_scene import check_sensor
from clippan_cli.training.data.pairs import Batch, Stretched
from clippan_cli.training.data.reduced_scene import ReducedScene, reduce_scene
from clippan_cli.training.data.surveyed_scenes import mixture, stretch
from clippan_cli.training.loop.distributed import check_alone
from clippan_cli.training.objectives.simulated import fuse
from clippan_cli.training.objectives.with_truth import back_project_pairs
from clippan_cli.training.objectives.without_truth import (
    imitation_loss,
    language_loss,
    quality_loss,
    spatial_loss,
    spectral_loss,
    structural_loss,
    without_gain,
)
from clippan_cli.training.options import NONE, TrainOptions
from clippan_cli.training.train import load_watcher

TABLE = "gradient.csv"
CONTROL = "PAN gain"
"""The change that every loss has to beat: PAN's detail, times one number for all of a band."""

_CLASSICAL = ("mtf-glp-hpm-r", "gsa", "bdsd-pc")
_STARTS = ("exp", "classical", "init")
_MOST, _EDGE = 40, 8
_PROJECTIONS = 10
_LEAST = 19  # SSIM and its edges need as many
_TINY = 1e-20

Loss = Callable[..., Tensor]
Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """What a loss is worth at one kind of image.

    Args:
        loss: The name of the loss.
        start: The kind of image: interpolated, of the best classical method, or of the network to begin from.
        mean: The mean cosine over the scenes.
        error: The standard error of the mean.
        free: The mean without the part along PAN's detail.
        free_error: The standard error of that.
    """

    loss: str
    start: str
    mean: float
    error: float
    free: float
    free_error: float

    @property
    def helps(self) -> bool:
        """Whether the mean lies above zero by two standard errors."""
        return self.mean > 2 * self.error


@dataclass(frozen=True, kw_only=True)
class GradientTest:
    """The result of the test.

    Args:
        output: The folder of the table.
        scenes: The names of the scenes.
        rows: The cosine of each loss at each kind of image.
    """

    output: str
    scenes: list[str]
    rows: list[Cosine]

    def lines(self) -> Iterator[str]:
        """Write the table for people."""
        yield f"{'':<12}" + "".join(f"{start:>16}{'without gain':>16}" for start in _STARTS)
        for loss in dict.fromkeys(row.loss for row in self.rows):
            known = {row.start: row for row in self.rows if row.loss == loss}
            yield f"{loss:<12}" + "".join(_cells(known.get(start)) for start in _STARTS)


def _cells(row: Cosine | None) -> str:
    if row is None:
        return f"{'–':>16}{'–':>16}"
    return f"{row.mean:9.3f} ±{row.error:5.3f}{row.free:9.3f} ±{row.free_error:5.3f}"


def measure_gradients(
    scenes: Sequence[str],
    output: str | Path,
    options: TrainOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> GradientTest:
    """Measure on scenes whether losses point to the truth.

    Args:
        scenes: Folders of scenes, or lists.
        output: The folder of the table.
        options: What the user says: of the scenes, of the network to begin from, of the supervisor and its CLIP.
        listener: Hears of progress.
        stop: Set it to stop after the scene in work.

    Returns:
        The cosine of each loss, at interpolation, at the best classical method and at the network to begin from.

    Raises:
        InputError: No scene can be used.
        OutputError: The folder holds a table already, or cannot be written.
        Interrupted: ``stop`` was set.
    """
    check_alone("clippan ablate gradient")
    options, hears, path = options or TrainOptions(), listener or Deaf(), Path(output) / TABLE
    if path.exists() and not options.overwrite:
        raise OutputError(f"{output} holds a table", "choose another folder, or replace it with `overwrite`")
    check_sensor(options.scene)
    device = choose_device(options.device)
    net = find_model(options.init).load().to(device).eval()
    supervisor = None if options.supervisor == NONE else load_watcher(options).move_to(device)
    losses = _losses(supervisor)
    found: dict[str, Mapping[tuple[str, str], Pair]] = {}
    places = find_all(scenes)
    hears.begin("measuring gradients", len(places))
    for files in places:
        if stop is not None and stop.is_set():
            raise Interrupted("stopped between scenes", "begin again")
        try:
            through = reduce_scene(files, options.scene, device, Deaf(), least=_LEAST)
        except ClippanError as error:
            hears.warn(f"scene {files.name} is left out: {error}")
        else:
            if supervisor is not None:
                supervisor.check_fit(files.name, [None] * len(through[0].pair.ms))
            found[files.name] = _mean([_measure(lesson, losses, net, options) for lesson in through])
        hears.advance(1)
    if not found:
        raise InputError("none of the scenes can be used", "the warnings say why")
    test = GradientTest(output=str(output), scenes=list(found), rows=_summarise(list(found.values())))
    _write(path, test)
    return test


def _losses(supervisor: Supervisor | None) -> dict[str, Loss]:
    """Return the losses of stage II that need a fused image and its sources alone."""
    losses: dict[str, Loss] = {
        "spectral": spectral_loss,
        "spatial": spatial_loss,
        "quality": quality_loss,
        "structure": structural_loss,
    }
    if supervisor is not None:
        losses["language"] = partial(language_loss, supervisor=supervisor)
    return losses


def _measure(
    lesson: ReducedScene, losses: Mapping[str, Loss], net: Network, options: TrainOptions
) -> dict[tuple[str, str], Pair]:
    """Return both cosines of each loss at each kind of image, in the middle of a scene."""
    box = lesson.area.middle(_MOST)
    pair, _ = lesson.surround(box)
    learned = _learned(net, pair, options.consistency)
    classical = _classical(lesson, lesson.pan_box(lesson.around(box)), pair.truth[0], options.consistency)
    space, seen = _Unmeasured(pair), _stretch(lesson, pair)
    found = {}
    for start, image in (("exp", pair.ms_up), ("classical", classical[None]), ("init", learned)):
        lacking = space.keep(pair.truth - image)
        for name, loss in losses.items():
            found[name, start] = space.compare(space.descend(partial(loss, tiles=seen), image), lacking)
        if start != "init":
            imitate = partial(imitation_loss, taught=learned, tiles=seen)
            found["teacher", start] = space.compare(space.descend(imitate, image), lacking)
        found[CONTROL, start] = space.compare(space.detail, lacking)
    return found


class _Unmeasured:
    """Changes of an image that MS does not measure, in standard deviations of each band.

    Args:
        pair: The pair one scale down.
    """

    def __init__(self, pair: Batch) -> None:
        self._pair = replace(pair, ms=torch.zeros_like(pair.ms))
        self._unit = pair.context.deviation[..., None, None]
        self.detail = self.keep((pair.pan - pair.context.pan_low) * self._unit)

    def keep(self, change: Tensor) -> Tensor:
        """Take out of a change ``(1, C, H, W)`` what back-projection would undo."""
        return back_project_pairs(change, self._pair, _PROJECTIONS) / self._unit

    def descend(self, loss: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Return the change that a loss asks for."""
        at = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(at), at)
        return self.keep(-gradient * self._unit.square())

    def compare(self, change: Tensor, lacking: Tensor) -> Pair:
        """Return the cosine of a change with what an image lacks, and the same without PAN's gain."""
        return _cosine(change, lacking), _cosine(*(without_gain(x, self.detail) for x in (change, lacking)))


def _cosine(one: Tensor, other: Tensor) -> float:
    """Return the cosine, edges aside; 0 where there is no direction."""
    one, other = trim(one, _EDGE), trim(other, _EDGE)
    length = float(one.norm() * other.norm())
    return float((one * other).sum()) / length if length > _TINY else 0.0


def _learned(net: Network, pair: Batch, consistency: int) -> Tensor:
    """Return what the network makes of a pair: ``(1, C, H, W)``."""
    with torch.no_grad():
        return back_project_pairs(fuse(net, pair), pair, consistency)


def _classical(lesson: ReducedScene, pan_box: Box, truth: Tensor, consistency: int) -> Tensor:
    """Return what the classical method makes of a part of a scene that is the nearest to the truth."""
    whole, pair = Box.whole(lesson.pair.pan.shape), lesson.to(torch.device("cpu")).pair
    made = [fuse_whole(method(name), pair.ms, pair.pan, pair.sampling, consistency) for name in _CLASSICAL]
    cut = [pan_box.cut(image, whole).to(truth) for image in made]
    return min(cut, key=lambda image: float(ergas(image, truth, max(pair.sampling.ratio))))


def _stretch(lesson: ReducedScene, pair: Batch) -> Stretched:
    """Return a part of a scene as losses of full resolution look at it."""
    small = lesson.to(torch.device("cpu")).pair
    ms_box, pan_box = Box.whole(small.ms.shape), Box.whole(small.pan.shape)
    window = Window(Pixels(small.ms), Pixels(small.pan), ms_box, pan_box)
    operators = Operators(small.sampling, pan_box, ms_box)
    moments = tile_moments(FEATURES, small.ms, window.pan, operators.covered, operators, core=ms_box)
    low, high = stretch([window])
    return Stretched(
        ms=pair.ms,
        pan=pair.pan,
        ms_up=pair.ms_up,
        context=pair.context,
        operators=pair.operators,
        low=low[None].to(pair.ms),
        high=high[None].to(pair.ms),
        mixture=mixture(moments)[None].to(pair.ms),
    )


def _mean(through: Sequence[Mapping[tuple[str, str], Pair]]) -> dict[tuple[str, str], Pair]:
    """Return the mean over optics."""
    return {
        key: (fmean(each[key][0] for each in through), fmean(each[key][1] for each in through)) for key in through[0]
    }


def _summarise(scenes: Sequence[Mapping[tuple[str, str], Pair]]) -> list[Cosine]:
    """Return mean and standard error over scenes."""
    rows = []
    for loss, start in scenes[0]:
        with_gain, free = zip(*(scene[loss, start] for scene in scenes), strict=True)
        parts = zip(("mean", "error", "free", "free_error"), (*_spread(with_gain), *_spread(free)), strict=True)
        rows.append(Cosine(loss=loss, start=start, **{name: round(value, 4) for name, value in parts}))
    return rows


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and its standard error; not a number for one value."""
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _write(path: Path, test: GradientTest) -> None:
    columns = [each.name for each in fields(Cosine)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_table(path, [columns, *([getattr(row, name) for name in columns] for row in test.rows)])
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "choose another folder") from error
