"""A prior from simulated pairs: what sharpening is, learned from any imagery (arXiv 2512.02643)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import torch

from clippan_cli.base.identity import Key, tell_apart
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.base.options import identity
from clippan_cli.errors import UsageError
from clippan_cli.modelstore.model import RECORD
from clippan_cli.modelstore.records import ModelRecord
from clippan_cli.networks.registry import network
from clippan_cli.training.data.draw import Draw
from clippan_cli.training.data.imagery import image_sources, pair_sources, procedural_sources
from clippan_cli.training.data.pairs import Batch
from clippan_cli.training.data.simulated_pairs import RATIOS, Group, Source, make_batch
from clippan_cli.training.loop.distributed import check_alone
from clippan_cli.training.loop.steps import Loop, begin_from, check_folder
from clippan_cli.training.loop.task import Schedule, Trained
from clippan_cli.training.objectives.simulated import Supervised
from clippan_cli.training.options import PretrainOptions, TeachOptions
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.products.recipe import make_recipe

_SHARES = {"images": 0.15, "scenes": 0.25, "procedural": 0.6}
_LARGEST_RATIO = 8.0
_LESSONS = """Pairs were simulated from images (random mixtures as bands, a random PAN response, MTF gains, phases,
ratios of 2 to 6, noise); those of real scenes were taken one scale down (Wald).
Loss: logarithm of the error, plus {:g} times that of the spectral angle, after {} back-projections."""


def pretrain(
    output: str | Path,
    options: PretrainOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[ModelRecord]:
    """Train a network on simulated pairs, and on real ones one scale down.

    Args:
        output: The folder of the model; its name becomes the id.
        options: What the user says; None for the defaults.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The model's folder and record.

    Raises:
        InputError: There is nothing to learn from.
        ModelError: A checkpoint does not fit.
        OutputError: The model cannot be written.
        Interrupted: ``stop`` was set.
    """
    check_alone("clippan pretrain")
    options, folder, hears = options or PretrainOptions(), Path(output), listener or Deaf()
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    device = choose_device(options.device)
    torch.manual_seed(options.seed)
    begun = {}
    if options.init is not None:
        model = begin_from(options.init, folder)
        net = model.load().train().to(device)
        begun = {"init": model.id, "init_sha256": model.sha256}
        if model.bands is not None and options.bands not in (None, model.bands):
            raise UsageError(f"{options.init} serves {model.bands} bands, not {options.bands}", "leave out `bands`")
        bands = options.bands if model.bands is None else model.bands
        options = replace(options, network=model.network, settings=model.settings, bands=bands)
    else:
        net = network(options.network, options.bands or 1, **options.settings).to(device)
    if options.bands is None and not net.any_bands:
        raise UsageError(f"{options.network} serves one number of bands only", "say which: `bands=4`")
    groups, sources = gather_groups(options, device, hears)

    def draw(number: int, size: int) -> Batch:
        return make_batch(groups, size, Draw.of(options.seed, number), options.bands)

    key = {
        **identity(options),
        **begun,
        **describe_sources(sources),
    }
    loop = Loop(
        folder=folder,
        net=net,
        task=Supervised(draw, options.angle, options.consistency),
        product=ModelProduct(
            network=options.network,
            settings=options.settings,
            ratios=(min(RATIOS), _LARGEST_RATIO),
            recipe=make_recipe("clippan pretrain", folder, options, key, *(_GIVEN if begun else ())),
            lessons=_LESSONS.format(options.angle, options.consistency),
        ),
        schedule=Schedule(options.iterations, options.batch, options.rate, options.every),
        key=key,
        hears=hears,
        stop=stop or Event(),
    )
    return loop.run(options.resume)


_GIVEN = ("network", "settings", "bands")
"""The options that the model decides which a training goes on from."""


def describe_sources(sources: Mapping[str, Sequence[Source]]) -> Key:
    """Return what a training is known by of what it learned from."""
    return {
        "sources": {kind: len(found) for kind, found in sources.items()},
        "learned_from": tell_apart(f"{kind}/{source.name}" for kind, found in sources.items() for source in found),
    }


def gather_groups(
    options: PretrainOptions | TeachOptions, device: torch.device, hears: Listener
) -> tuple[list[Group], dict[str, Sequence[Source]]]:
    """Gather all sources, with their shares on a device, and by kind.

    Raises:
        InputError: There is nothing of a kind that is asked for.
        UsageError: Nothing is asked for.
    """
    sources = _gather(options, hears)
    total = sum(_SHARES[name] for name in sources)
    groups: list[Group] = [
        (_SHARES[name] / total, [each.to(device) for each in found]) for name, found in sources.items()
    ]
    return groups, sources


def _gather(options: PretrainOptions | TeachOptions, hears: Listener) -> dict[str, Sequence[Source]]:
    if not (options.images or options.scenes or options.procedural):
        raise UsageError("nothing to learn from", "`images=DIR`, `scenes=DIR`, or `procedural=N`")
    found: dict[str, Sequence[Source]] = {}
    if options.images:
        found["images"] = image_sources(options.images, options.seed, hears)
    if options.scenes:
        found["scenes"] = pair_sources(options.scenes, options.scene, hears)
    if options.procedural:
        found["procedural"] = procedural_sources(options.procedural, options.seed)
    hears.say("learning from " + ", ".join(f"{len(sources)} {name}" for name, sources in found.items()))
    return found
