"""Stage I of CLIPPan: teach CLIP what MS, PAN and HRMS are, and what a bad fusion is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Event

import torch

from clippan_cli.base.device import choose_device
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.fusion.registry import method
from clippan_cli.modelstore.records import SupervisorRecord, TrainingRecord
from clippan_cli.modelstore.supervisor import RECORD
from clippan_cli.supervision.encoder import UNTRAINED, Encoder
from clippan_cli.supervision.projector import Projector, linear_map
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.data.scenes import wanted
from clippan_cli.training.data.surveyed_scenes import Site, names, open_sites
from clippan_cli.training.data.tile_reader import TileStream, held_tiles
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.loop.steps import Loop, check_folder
from clippan_cli.training.loop.task import Schedule, Trained
from clippan_cli.training.objectives.stage_one import LOSSES, REFERENCE, Adapting, chosen_weights
from clippan_cli.training.options import AdaptOptions
from clippan_cli.training.products.supervisor import SupervisorProduct

_HELD = 16


_ASIDE = ("overwrite", "resume", "device", "every", "jobs", "download", "clip_weights", "prompts", "losses")


def adapt(
    scenes: Sequence[str],
    output: str | Path,
    options: AdaptOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[SupervisorRecord]:
    """Adapt CLIP to the types of images in the scenes.

    Args:
        scenes: Folders of scenes, or lists.
        output: The supervisor's folder.
        options: How.
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
    options, folder, hears = options or AdaptOptions(), Path(output), listener or Deaf()
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    # What is wrong shall be said before CLIP is read.
    chosen_weights(options.losses, LOSSES)
    read_prompts(options.prompt, options.prompts)
    wanted(scenes)
    encoder = Encoder(options.clip, options.clip_weights, download=options.download, precision=options.precision)
    if options.clip_weights == UNTRAINED:
        hears.warn("CLIP is untrained: what such a supervisor asks for means nothing")
    sites = open_sites(scenes, encoder.side, {REFERENCE: method(REFERENCE)}, hears)
    return adapt_on(sites, encoder, folder, options, hears, stop or Event())


def adapt_on(
    sites: Sequence[Site], encoder: Encoder, folder: Path, options: AdaptOptions, hears: Listener, stop: Event
) -> Trained[SupervisorRecord]:
    """One adaptation on scenes that are known; see :func:`adapt`."""
    weights = chosen_weights(options.losses, LOSSES)
    prompts = read_prompts(options.prompt, options.prompts)
    group = Group(device=choose_device(options.device))
    torch.manual_seed(options.seed)
    net = Supervisor(encoder, projector(options.ms_input, sites), prompts, sites[0].wavelengths).on(group.device)
    for site in sites:
        net.check_fit(site.files.name, site.wavelengths)
    stream = TileStream(sites, encoder.side, options.batch, options.seed, options.jobs, group, hears)
    temperatures = (options.type_temperature, options.scene_temperature)
    held = held_tiles(sites, encoder.side, _HELD, group.device, hears)
    task = Adapting(stream, held, weights, temperatures, options.seed)
    plain = {name: value for name, value in asdict(options).items() if name not in _ASIDE}
    key = {**plain, "losses": weights, "clip_sha256": encoder.sha256, "texts": prompts.texts, "scenes": names(sites)}
    schedule = Schedule(options.iterations, options.batch, options.rate, options.every)
    product = SupervisorProduct(TrainingRecord.of(key), task)
    return Loop(folder, net, task, product, schedule, key, hears, stop).run(options.resume)


def projector(kind: str, sites: Sequence[Site]) -> Projector:
    """As the first scene's bands are, stretched like its tiles."""
    site = sites[0]
    low, width = site.low[:-1], (site.high - site.low)[:-1]
    mean, covariance = (site.mean - low) / width, site.covariance / (width[:, None] * width)
    return Projector(kind, *linear_map(kind, site.wavelengths, mean, covariance))
