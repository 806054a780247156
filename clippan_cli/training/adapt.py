"""Stage I of CLIPPan: teach CLIP what MS, PAN and HRMS are, and what a bad fusion is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch

from clippan_cli.base.identity import tell_apart
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.base.options import identity
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.records import SupervisorRecord
from clippan_cli.modelstore.supervisor import RECORD, load_clip, looks_at_differences
from clippan_cli.scene.find import find_all
from clippan_cli.supervision.encoder import UNTRAINED, Encoder
from clippan_cli.supervision.forms import DIFFERENCES, check_adapters, check_input
from clippan_cli.supervision.projector import Differences, Projector, Shown
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.surveyed_scenes import SIDE, Site, survey_scenes
from clippan_cli.training.data.tile_reader import HELD, TileStream, held_tiles
from clippan_cli.training.loop.distributed import Group, check_alone
from clippan_cli.training.loop.steps import Loop, check_folder
from clippan_cli.training.loop.task import Schedule, Trained
from clippan_cli.training.objectives.stage_one import LOSSES, REFERENCE, Adapting
from clippan_cli.training.objectives.weights import choose_weights
from clippan_cli.training.options import AdaptOptions, ClipOptions
from clippan_cli.training.products.recipe import make_recipe
from clippan_cli.training.products.supervisor import SupervisorProduct


@dataclass(frozen=True)
class Classroom:
    """Scenes and the CLIP that looks at them: what several trainings can share.

    Args:
        sites: The scenes.
        encoder: CLIP, read once.
    """

    sites: Sequence[Site]
    encoder: Encoder


def adapt(
    scenes: Sequence[str],
    output: str | Path,
    options: AdaptOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[SupervisorRecord]:
    """Adapt CLIP to the types of images in the scenes.

    Args:
        scenes: Folders of scenes, lists, or collections.
        output: The supervisor's folder.
        options: What the user says; None for the defaults.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The supervisor's folder and record.

    Raises:
        UsageError: An option means nothing.
        InputError: No scene can be used.
        ModelError: CLIP's weights are not at hand, or a checkpoint does not fit.
        OutputError: The supervisor cannot be written.
        Interrupted: ``stop`` was set.
    """
    check_alone("clippan adapt")
    options, folder, hears = options or AdaptOptions(), Path(output), listener or Deaf()
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    # What is wrong shall be said before CLIP is read.
    check_stage_one(options)
    find_all(scenes)
    encoder = read_clip(options.clip, hears)
    sites = survey_scenes(scenes, SIDE, stage_one_methods(), options.scene, hears)
    return adapt_on(Classroom(sites, encoder), folder, options, hears, stop or Event())


def check_stage_one(options: AdaptOptions) -> None:
    """Refuse losses, prompts and forms that there are not.

    Raises:
        UsageError: An option means nothing.
    """
    check_adapters(options.clip.adapters)
    if options.clip.ms_input is not None:
        check_input(options.clip.ms_input)
    choose_weights(options.losses, LOSSES)
    read_prompts(options.clip.prompt, options.clip.prompts)


def read_clip(options: ClipOptions, hears: Listener) -> Encoder:
    """Read CLIP, and warn if it is untrained.

    Raises:
        ModelError: Its weights are not at hand.
        UsageError: There is no such architecture, tag or precision.
    """
    encoder = load_clip(options.clip, options.clip_weights, download=options.download, precision=options.precision)
    if encoder.weights == UNTRAINED:
        hears.warn("CLIP is untrained: what such a supervisor asks for means nothing")
    return encoder


def _projector(site: Site, options: ClipOptions) -> Shown:
    """Return how images are shown to CLIP: as it has learned to see, where it ships."""
    kind = options.ms_input or (DIFFERENCES if looks_at_differences(options.clip) else "conv")
    return Differences() if kind == DIFFERENCES else Projector(kind, *site.channels(kind))


def stage_one_methods() -> dict[str, Method]:
    """Return the method that makes HRMS images for stage I, by its name."""
    return {REFERENCE: method(REFERENCE)}


def adapt_on(
    room: Classroom, folder: Path, options: AdaptOptions, hears: Listener, stop: Event
) -> Trained[SupervisorRecord]:
    """Adapt on scenes that are known; see :func:`adapt`."""
    sites, encoder = room.sites, room.encoder
    weights = choose_weights(options.losses, LOSSES)
    prompts = read_prompts(options.clip.prompt, options.clip.prompts)
    group = Group(device=choose_device(options.device))
    torch.manual_seed(options.seed)
    net = Supervisor(
        encoder, _projector(sites[0], options.clip), prompts, sites[0].wavelengths, adapters=options.clip.adapters
    ).move_to(group.device)
    for site in sites:
        net.check_fit(site.files.name, site.wavelengths)
    held = held_tiles(sites, HELD, group.device, hears)
    task = Adapting(
        TileStream(
            sites=sites,
            batch=options.batch,
            seed=options.seed,
            workers=options.jobs,
            group=group,
            hears=hears,
        ),
        held,
        weights,
        (options.type_temperature, options.scene_temperature),
        options.seed,
    )
    key = {
        **identity(options),
        "losses": weights,
        "clip_sha256": encoder.sha256,
        "texts": prompts.texts,
        "learned_from": tell_apart(site.files.name for site in sites),
    }
    loop = Loop(
        folder=folder,
        net=net,
        task=task,
        product=SupervisorProduct(recipe=make_recipe("clippan adapt --scenes SCENES", folder, options, key), task=task),
        schedule=Schedule(options.iterations, options.batch, options.rate, options.every),
        key=key,
        hears=hears,
        stop=stop,
    )
    return loop.run(options.resume)
