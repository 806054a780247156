"""One-shot: a trained network learns a scene from that scene itself, one scale down (arXiv 2512.02643)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event

from clippan_cli.base.identity import tell_apart
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.base.options import identity
from clippan_cli.errors import UsageError
from clippan_cli.modelstore.model import RECORD
from clippan_cli.modelstore.records import ModelRecord
from clippan_cli.networks.network import Network
from clippan_cli.scene.find import find_all
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.learned_scene import check_sensor
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.reduced_scene import reduce_scene
from clippan_cli.training.loop.distributed import check_alone
from clippan_cli.training.loop.steps import Loop, begin_from, check_folder
from clippan_cli.training.loop.task import Schedule, Trained
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.options import TuneOptions
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.products.recipe import make_recipe

TUNES = ("full", "freeze")

_LESSONS = """Tuned from {} ({}) on real scenes one scale down (Wald), where the measured MS is the truth; the
validation in the log is on crops of the same scenes.
Loss: logarithm of the error, plus {:g} times that of the spectral angle, after {} back-projections."""


def tune(
    scenes: Sequence[str],
    output: str | Path,
    options: TuneOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[ModelRecord]:
    """Tune a model on real scenes, one scale down: what it learns there it is trusted to know at full resolution.

    Args:
        scenes: Folders with an MS and a PAN raster each, folders of such, or lists.
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
    net = model.load().to(device)
    if options.weights == "freeze":
        _freeze(net)
    found = find_all(scenes)
    lessons = [reduce_scene(files, options.scene, device, hears) for files in found]
    for lesson in lessons:
        model.check_fit(len(lesson.pair.ms), max(lesson.pair.sampling.ratio))

    def draw(number: int, size: int) -> Batch:
        chance = Draw.of(options.seed, number)
        return lessons[chance.below(len(lessons))].crop(chance)

    key = {
        **identity(options),
        "init": model.id,
        "init_sha256": model.sha256,
        "sources": {"scenes": len(lessons)},
        "learned_from": tell_apart(files.name for files in found),
    }
    recipe = make_recipe("clippan tune --scenes SCENES", folder, options, {**key, "batch": 1})
    said = _LESSONS.format(model.id, options.weights, options.angle, options.consistency)
    loop = Loop(
        folder=folder,
        net=net,
        task=Supervised(draw, options.angle, options.consistency),
        product=ModelProduct(
            network=model.network, settings=model.settings, ratios=model.ratios, recipe=recipe, lessons=said
        ),
        schedule=Schedule(options.iterations, 1, options.rate, options.every),
        key=key,
        hears=hears,
        stop=stop or Event(),
    )
    return loop.run(options.resume)


def _freeze(net: Network) -> None:
    """Let only the last layer learn."""
    kept = {id(weight) for weight in net.last_weights()}
    for weight in net.parameters():
        weight.requires_grad_(id(weight) in kept)
