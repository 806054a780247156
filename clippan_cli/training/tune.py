"""One-shot: a trained network learns a scene from that scene itself, one scale down (arXiv 2512.02643)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Event

import torch

from clippan_cli.base.files import replace_table
from clippan_cli.base.identity import Key, tell_apart
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.base.options import identity
from clippan_cli.base.version import ALGORITHM, __version__
from clippan_cli.errors import InputError, ModelError, OutputError, UsageError
from clippan_cli.modelstore.model import RECORD, Model
from clippan_cli.modelstore.records import ModelRecord
from clippan_cli.networks.injector import Injector
from clippan_cli.networks.network import Network
from clippan_cli.networks.refined import Refined
from clippan_cli.opening.record import describe_files
from clippan_cli.scene.find import SceneFiles, find_all
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.learned_scene import check_sensor
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.reduced_scene import ReducedScene, reduce_scene
from clippan_cli.training.loop.curves import CURVES
from clippan_cli.training.loop.distributed import check_alone
from clippan_cli.training.loop.steps import LOG, STATE, Loop, begin_from, check_folder, discard, find_finished
from clippan_cli.training.loop.task import Run, Schedule, Trained
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.options import TuneOptions
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.products.recipe import make_recipe
from clippan_cli.training.refine import look_up, refine

TUNES = ("refine", "full", "freeze")

_LESSONS = """Tuned from {} ({}) on real scenes one scale down (Wald), where the measured MS is the truth; the
validation in the log is on crops of the same scenes.
Loss: logarithm of the error, plus {:g} times that of the spectral angle, after {} back-projections."""

_REFINED = """Refined from {} on real scenes one scale down (Wald), where the measured MS is the truth, by least
squares after {} back-projections. On parts of the scenes that were kept aside the error is {:.3f} times what it was.
One scale up, what was learned two scales down makes it {}."""

_Scenes = Sequence[tuple[ReducedScene, ...]]

_LOG_OF_REFINEMENT = ("ridge", "error_kept_aside")


def tune(
    scenes: Sequence[str | SceneFiles],
    output: str | Path,
    options: TuneOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[ModelRecord]:
    """Tune a model on real scenes, one scale down: what it learns there it is trusted to know at full resolution.

    Args:
        scenes: Folders with an MS and a PAN raster each, folders of such, lists, collections, or the files of a
            scene.
        output: The folder of the new model.
        options: What the user says; None for the defaults.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The model's folder and record.

    Raises:
        InputError: There is no scene that can be used.
        ModelError: The model to begin with cannot be used, or not for these scenes.
        OutputError: The model cannot be written.
        Interrupted: ``stop`` was set.
    """
    check_alone("clippan tune")
    options, hears, folder = options or TuneOptions(), listener or Deaf(), Path(output)
    if options.weights not in TUNES:
        raise UsageError(f"unknown way to tune {options.weights!r}", "known: " + ", ".join(TUNES))
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    check_sensor(options.scene)
    device = choose_device(options.device)
    model = begin_from(options.init, folder)
    found = [each for each in scenes if isinstance(each, SceneFiles)]
    if not found or len(found) < len(scenes):
        found += find_all([each for each in scenes if isinstance(each, str)])
    key = {
        **identity(options),
        "init": model.id,
        "init_sha256": model.sha256,
        "sources": {"scenes": len(found)},
        # A name stays when the scene behind it changes.
        "learned_from": tell_apart(f"{files.name} {describe_files(files.originals)}" for files in found),
    }
    work = _Work(
        options=options,
        folder=folder,
        model=model,
        key=key,
        device=device,
        hears=hears,
        stop=stop or Event(),
    )
    if options.resume and (former := work.find_finished()) is not None:
        return former
    reduced = [reduce_scene(files, options.scene, device, hears) for files in found]
    for lesson, *_ in reduced:
        model.check_fit(len(lesson.pair.ms), max(lesson.pair.sampling.ratio))
    return (_refine if options.weights == "refine" else _descend)(work, reduced)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a tuning has to do with, whichever way it goes."""

    options: TuneOptions
    folder: Path
    model: Model
    key: Key
    device: torch.device
    hears: Listener
    stop: Event

    def find_finished(self) -> Trained[ModelRecord] | None:
        """Return what the same tuning has left, if it had finished."""
        key = {**self.key, "algorithm": ALGORITHM}
        return find_finished(self.folder, self.product(self.model.network, ""), key, self.hears)

    def product(self, network: str, lessons: str) -> ModelProduct:
        """Return what the tuning leaves behind."""
        recipe = make_recipe("clippan tune --scenes SCENES", self.folder, self.options, {**self.key, "batch": 1})
        model = self.model
        return ModelProduct(
            network=network, settings=model.settings, ratios=model.ratios, recipe=recipe, lessons=lessons
        )


def _descend(work: _Work, scenes: _Scenes) -> Trained[ModelRecord]:
    """Let weights learn step by step."""
    options, model, lessons = work.options, work.model, list(chain(*scenes))
    net = model.load().to(work.device)
    if options.weights == "freeze":
        _freeze(net)

    def draw(number: int, size: int) -> Batch:
        chance = Draw.of(options.seed, number)
        return lessons[chance.below(len(lessons))].crop(chance)

    said = _LESSONS.format(model.id, options.weights, options.angle, options.consistency)
    loop = Loop(
        folder=work.folder,
        net=net,
        task=Supervised(draw, options.angle, options.consistency),
        product=work.product(model.network, said),
        schedule=Schedule(options.iterations, 1, options.rate, options.every),
        key=work.key,
        hears=work.hears,
        stop=work.stop,
    )
    return loop.run(options.resume)


def _refine(work: _Work, scenes: _Scenes) -> Trained[ModelRecord]:
    """Let the weights of a mixture follow from the scenes at once."""
    options, folder, hears, lessons = work.options, work.folder, work.hears, list(chain(*scenes))
    if options.resume and (folder / STATE).is_file():
        raise ModelError(
            f"{folder} holds a training that was stopped, and was no refinement",
            "continue with the `weights` of the first run, or start again with `overwrite`",
        )
    began = time.perf_counter()
    bands = sorted({len(lesson.pair.ms) for lesson in lessons})
    if len(bands) > 1:
        raise InputError(
            f"scenes have {' and '.join(map(str, bands))} bands: a refinement is for one sensor",
            "name scenes of one sensor, or `weights=full`",
        )
    net = _refinable(work.model, bands[0]).to(work.device)
    held_out = refine(
        net,
        lessons,
        consistency=options.consistency,
        hears=hears,
        stop=work.stop,
        seconds=options.seconds,
    )
    best = min(1.0, *held_out.values())
    above = look_up(
        net,
        [scene[len(scene) // 2] for scene in scenes],
        consistency=options.consistency,
        blind=not options.scene.stated_optics,
        stop=work.stop,
    )
    if above is None:
        hears.say("the scenes are too small to tell whether that holds one scale up")
    else:
        hears.say(f"what is learned two scales down makes the error one scale down {above:.3f} times what it was")
    if options.upward and best < 1 and (above is None or above >= 1):
        hears.warn("what the scenes teach does not hold one scale up: the model is left as it is")
        with torch.no_grad():
            net.mixture.zero_()
    elif best < 1:
        hears.say(f"on parts of the scenes kept aside the error is {best:.3f} times what it was")
    else:
        hears.warn("what was learned does not help on parts of the scenes kept aside: the model is left as it is")
    rows = [(f"{ridge:g}", f"{ratio:.5f}") for ridge, ratio in held_out.items()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        discard(folder, RECORD)
        (folder / CURVES).unlink(missing_ok=True)
        replace_table(folder / LOG, [_LOG_OF_REFINEMENT, *rows])
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}", "choose another folder") from error
    run = Run(__version__, str(torch.__version__), str(work.device), round((time.perf_counter() - began) / 60, 1))
    told = "larger or smaller: the scenes are too small to tell" if above is None else f"{above:.3f} times what it was"
    said = _REFINED.format(work.model.id, options.consistency, best, told)
    return work.product("refined", said).write(folder, net, run)


def _refinable(model: Model, bands: int) -> Refined:
    """Load a model as one that has a mixture.

    Raises:
        ModelError: It is of another architecture.
    """
    begun = model.load()
    if not isinstance(begun, Injector):
        raise ModelError(
            f"model {model.id} is of {model.network}, which cannot be refined", "`weights=full`, or `weights=freeze`"
        )
    return Refined.of(begun, bands, **model.settings).eval()


def _freeze(net: Network) -> None:
    """Let only the last layer learn."""
    kept = {id(weight) for weight in net.last_weights()}
    for weight in net.parameters():
        weight.requires_grad_(id(weight) in kept)
