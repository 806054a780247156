"""One-shot: a trained network learns a scene from that scene itself, one scale down (arXiv 2512.02643)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import torch

from clippan_cli.base.device import choose_device
from clippan_cli.base.geometry import Box, Span
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.errors import InputError, UsageError
from clippan_cli.fusion.moments import tile_moments
from clippan_cli.fusion.traits import FEATURES, Traits, as_context, from_moments
from clippan_cli.modelstore.model import RECORD
from clippan_cli.networks.network import Network
from clippan_cli.opening.window import read_window
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.wald import Reduced, reduce
from clippan_cli.scene.find import Found
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.scenes import opened, wanted
from clippan_cli.training.loop.steps import Loop, begin_from, check_folder
from clippan_cli.training.loop.task import Schedule
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.options import TuneOptions
from clippan_cli.training.products.model import ModelProduct

TUNES = ("full", "freeze")

_LESSONS = """Tuned from {} ({}) on real scenes one scale down (Wald), where the measured MS is the truth; the
validation in the log is on crops of the same scenes.
Loss: logarithm of the error, plus {:g} times that of the spectral angle, after {} back-projections."""
_SIDE = 32
_LEAST = 16


def tune(
    scenes: Sequence[str],
    output: str | Path,
    options: TuneOptions,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Tune a model on real scenes, one scale down: what it learns there it is trusted to know at full resolution.

    Args:
        scenes: Folders with an MS and a PAN raster each, or folders of such.
        output: The folder of the new model.
        options: How.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The model's record.

    Raises:
        InputError: There is no scene that can be used.
        ModelError: The model to begin with cannot be used, or not for these scenes.
        OutputError: The model cannot be written.
        Interrupted: ``stop`` was set.
    """
    hears, folder = listener or Deaf(), Path(output)
    if options.tune not in TUNES:
        raise UsageError(f"unknown way to tune {options.tune!r}", "known: " + ", ".join(TUNES))
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    device = choose_device(options.device)
    model = begin_from(options.init, folder)
    net = model.load().to(device)
    if options.tune == "freeze":
        _freeze(net)
    lessons = [_lesson(scene, device, hears) for scene in wanted(scenes)]
    for lesson in lessons:
        model.check_fit(len(lesson.pair.ms), max(lesson.pair.sampling.ratio))

    def draw(number: int, size: int) -> Batch:
        chance = Draw(options.seed * 1_000_003 + number)
        return lessons[chance.below(len(lessons))].crop(chance)

    plain = {name: value for name, value in asdict(options).items() if name not in _ASIDE}
    key = {**plain, "init": model.id, "init_sha256": model.sha256, "sources": {"scenes": len(lessons)}}
    words = " ".join(f"--{name} {value}" for name, value in plain.items() if name not in ("init", "seed"))
    command = f"clippan train --scenes SCENE --init {model.id} {words} --seed {options.seed} -o {folder.name}"
    recipe = {**key, "batch": 1, "command": command}
    said = _LESSONS.format(model.id, options.tune, options.angle, options.consistency)
    product = ModelProduct(model.network, model.settings, model.ratios, recipe, said)
    task = Supervised(draw, options.angle, options.consistency)
    schedule = Schedule(options.iterations, 1, options.rate, options.every)
    return Loop(folder, net, task, product, schedule, key, hears, stop or Event()).run(options.resume)


_ASIDE = ("overwrite", "resume", "device", "every")


@dataclass(frozen=True)
class _Lesson:
    """A scene one scale down, and what is known of it as a whole."""

    pair: Reduced
    traits: Traits

    def crop(self, draw: Draw) -> Batch:
        """A random window."""
        shape = self.pair.ms.shape[1:]
        spans = []
        for size in shape:
            side = min(_SIDE, size)
            start = draw.below(size - side + 1)
            spans.append(Span(start, start + side))
        return self.batch(Box(*spans))

    def batch(self, ms_box: Box) -> Batch:
        """One window of it."""
        sampling = self.pair.sampling
        reach = int(max(sampling.ratio) / 2)
        pan_box = sampling.pan_box(ms_box, reach, (self.pair.pan.shape[0], self.pair.pan.shape[1]))
        ms, pan = self.pair.ms[(slice(None), *_cut(ms_box))], self.pair.pan[_cut(pan_box)]
        truth = self.pair.truth[(slice(None), *_cut(pan_box))]
        operators = Operators(sampling, pan_box, ms_box, device=ms.device)
        low = Operators(sampling.common, pan_box, ms_box, device=ms.device).low_pass(pan)
        context = as_context(self.traits, low[None], max(sampling.ratio))
        return Batch(ms[None], pan[None, None], operators.up(ms)[None], context, operators, truth=truth[None])


def _lesson(scene: Found, device: torch.device, hears: Listener) -> _Lesson:
    name = scene.name
    with opened(scene) as (pair, known, box):
        pan_box = known.sampling.pan_box(box, known.sampling.down_reach, pair.pan.grid.shape)
        window = read_window(pair, box, pan_box)
    if window.ms_valid is not None or window.pan_valid is not None:
        raise InputError(f"scene {name} has gaps where it was to be learned", "cut out a part without nodata")
    if min(box.shape) < _LEAST * max(known.sampling.ratio):
        raise InputError(
            f"scene {name}: MS of {box.shape[1]} × {box.shape[0]} px is too small to learn from",
            f"it takes {int(_LEAST * max(known.sampling.ratio))} px a side",
        )
    small = reduce(window.ms / known.scale, window.pan / known.scale, known.sampling.within(box, pan_box))
    small = Reduced(small.ms.to(device), small.pan.to(device), small.truth.to(device), small.sampling)
    hears.say(f"learning from {name}: {small.ms.shape[2]} × {small.ms.shape[1]} px one scale down")
    whole = Box.whole(small.ms.shape)
    operators = Operators(small.sampling, Box.whole(small.pan.shape), whole, device=device)
    moments = tile_moments(FEATURES, small.ms, small.pan, operators.covered, operators, core=whole)
    traits = from_moments(moments, small.sampling)
    return _Lesson(small, Traits(*(value.to(small.ms) for value in traits)))


def _freeze(net: Network) -> None:
    """Let only the last layer learn."""
    kept = {id(weight) for weight in net.last_weights()}
    for weight in net.parameters():
        weight.requires_grad_(id(weight) in kept)


def _cut(box: Box) -> tuple[slice, slice]:
    return slice(*box.rows), slice(*box.cols)
