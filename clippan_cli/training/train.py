"""Stage II of CLIPPan: train a network on real scenes at full resolution, under the supervisor's eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import torch

from clippan_cli.base.device import choose_device
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.errors import UsageError
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import DEFAULT, method
from clippan_cli.modelstore.model import RECORD, Model
from clippan_cli.modelstore.records import ModelRecord, TrainingRecord
from clippan_cli.modelstore.supervisor import RECORD as SUPERVISOR_RECORD
from clippan_cli.modelstore.supervisor import load_supervisor, read_record
from clippan_cli.networks.network import Network
from clippan_cli.networks.registry import network
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.adapt import adapt
from clippan_cli.training.data.scenes import wanted
from clippan_cli.training.data.surveyed_scenes import Site, names, open_sites
from clippan_cli.training.data.tile_reader import TileStream, held_tiles
from clippan_cli.training.loop.distributed import Group, joined
from clippan_cli.training.loop.steps import Loop, begin_from, check_folder, discard
from clippan_cli.training.loop.task import Schedule, Trained
from clippan_cli.training.objectives.stage_one import chosen_weights
from clippan_cli.training.objectives.stage_two import ANCHORS, LOSSES, FullResolution
from clippan_cli.training.objectives.without_truth import (
    DEGRADATIONS,
)
from clippan_cli.training.options import AdaptOptions, TrainOptions
from clippan_cli.training.products.model import ModelProduct
from clippan_cli.training.products.page import draw_page

NONE = "none"
"""No supervisor, or no teacher."""

_HELD = 16
_SIDE = 192
_RATIOS = (1.5, 8.0)
_LESSONS = """Trained on tiles of real scenes at full resolution, without a truth. Weights of the losses: {};
{} back-projections. The language loss is CLIPPan's: {}."""


_ASIDE = ("overwrite", "resume", "device", "every", "jobs", "supervisor", "adapting", "clip_weights", "losses", "init")


def train(
    scenes: Sequence[str],
    output: str | Path,
    options: TrainOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> Trained[ModelRecord]:
    """Train a network on tiles of real scenes at full resolution.

    Under torchrun, all processes train together; the first writes.

    Args:
        scenes: Folders of scenes, or lists.
        output: The folder of the new model.
        options: How.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The model's folder and record.

    Raises:
        UsageError: An option means nothing.
        InputError: No scene can be used.
        ModelError: Model, supervisor or CLIP cannot be used, or the loss is not finite.
        OutputError: The model cannot be written.
        Interrupted: ``stop`` was set.
    """
    options, folder, hears = options or TrainOptions(), Path(output), listener or Deaf()
    weights = loss_weights(options)
    wanted(scenes)
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    with joined(choose_device(options.device)) as group:
        if options.batch % group.size:
            raise UsageError(
                f"--batch {options.batch} cannot be shared by {group.size} processes", "give a multiple of their number"
            )
        hears = hears if group.leads else Deaf()
        # What is wrong shall be said before CLIP is adapted.
        taught_by(options, weights, group.device)
        if options.network is not None or options.init is None:
            _network(options, folder, 4, 4.0)
        else:
            begin_from(options.init, folder)
        if group.leads and options.overwrite:
            # Else --resume would take the former model for this one, were this training stopped early.
            discard(folder, RECORD)
        supervisor = _supervisor(scenes, folder, options, weights, group, hears, stop)
        side = tile_side(supervisor)
        ground = Ground(open_sites(scenes, side, taught_by(options, weights, group.device), hears), side, supervisor)
        return train_on(ground, folder, options, group, hears, stop or Event())


@dataclass(frozen=True)
class Ground:
    """What several trainings can share.

    Args:
        sites: The scenes.
        side: PAN pixels a side of a tile.
        supervisor: None for none.
    """

    sites: Sequence[Site]
    side: int
    supervisor: Supervisor | None


def tile_side(supervisor: Supervisor | None) -> int:
    """PAN pixels a side of a tile: as much as CLIP looks at."""
    return _SIDE if supervisor is None else supervisor.encoder.side


def loss_weights(options: TrainOptions) -> dict[str, float]:
    """Of all losses, once the options have had their say.

    Raises:
        UsageError: An option means nothing.
    """
    weights = chosen_weights(options.losses, LOSSES)
    if options.supervisor == NONE:
        weights["language"] = 0.0
    unasked = options.teacher is None and options.network is None and "teacher" not in options.losses
    if options.teacher == NONE or unasked:
        weights["teacher"] = 0.0
    if options.degradation not in DEGRADATIONS:
        raise UsageError(f"unknown degradation {options.degradation!r}", "known: " + ", ".join(DEGRADATIONS))
    return weights


def taught_by(options: TrainOptions, weights: Mapping[str, float], device: torch.device) -> dict[str, Method]:
    """The methods that must know the scenes."""
    methods: dict[str, Method] = {name: method(name) for name in ANCHORS}
    if weights["teacher"]:
        methods["teacher"] = method(options.teacher or DEFAULT, device)
    return methods


def train_on(
    ground: Ground, folder: Path, options: TrainOptions, group: Group, hears: Listener, stop: Event
) -> Trained[ModelRecord]:
    """One training on ground that is known; see :func:`train`."""
    weights, sites, supervisor = loss_weights(options), ground.sites, ground.supervisor
    bands, ratio = len(sites[0].wavelengths), max(max(site.sampling.ratio) for site in sites)
    if supervisor is not None:
        for site in sites:
            supervisor.check_fit(site.files.name, site.wavelengths)
    torch.manual_seed(options.seed)
    model, net = _network(options, folder, bands, ratio)
    net.to(group.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stream = TileStream(sites, ground.side, options.batch, options.seed, options.jobs, group, hears)
    held = held_tiles(sites, ground.side, _HELD, group.device, hears) if group.leads else []
    watched = supervisor.on(group.device) if supervisor is not None and weights["language"] else None
    task = FullResolution(stream, held, watched, weights, options, None if model is None else net)
    key = _key(options, weights, model, names(sites), watched)
    recipe = TrainingRecord.of({**key, "sources": {"scenes": len(sites)}, "command": _command(folder, options)})
    words = ", ".join(f"{name} {weight:g}" for name, weight in weights.items() if weight)
    teaching = "off" if watched is None else f"CLIP {watched.encoder.name}, weights {watched.encoder.weights}"
    product = _Product(
        options.network or (model.network if model else ""),
        options.settings if model is None else model.settings,
        _ratios(sites) if model is None else model.ratios,
        recipe,
        _LESSONS.format(words, options.consistency, teaching),
        task=task,
    )
    schedule = Schedule(options.iterations, options.batch, options.rate, options.every)
    return Loop(folder, net, task, product, schedule, key, hears, stop, group).run(options.resume)


def _ratios(sites: Sequence[Site]) -> tuple[float, float]:
    """What a new network serves: the usual ones, and those that it saw."""
    seen = [ratio for site in sites for ratio in site.sampling.ratio]
    return min(_RATIOS[0], *seen), max(_RATIOS[1], *seen)


def _network(options: TrainOptions, folder: Path, bands: int, ratio: float) -> tuple[Model | None, Network]:
    """What is trained, and what it begins from."""
    if options.network is not None:
        made = network(options.network, bands, **options.settings)
        if not made.tile_safe:
            raise UsageError(
                f"{options.network} with {dict(options.settings)} looks at whole images: it could not sharpen scenes",
                "leave its local form as it is",
            )
        return None, made
    if options.init is None:
        raise UsageError("nothing to train", "--init MODEL, or --backbone NAME to begin anew")
    model = begin_from(options.init, folder)
    model.check_fit(bands, ratio)
    return model, model.load().train()


def _supervisor(
    scenes: Sequence[str],
    folder: Path,
    options: TrainOptions,
    weights: Mapping[str, float],
    group: Group,
    hears: Listener,
    stop: Event | None,
) -> Supervisor | None:
    """The one that was named, or a new one beside the model."""
    if not weights["language"]:
        return None
    if options.supervisor is not None:
        path = Path(options.supervisor)
        read_record(path)
    else:
        path = folder / "supervisor"
        if group.leads and not ((path / SUPERVISOR_RECORD).is_file() and options.resume):
            hears.say("no --supervisor was given: adapting one to these scenes first")
            how = replace(options.adapting, device=options.device, jobs=options.jobs, seed=options.seed)
            how = replace(how, overwrite=options.overwrite, resume=options.resume)
            adapt(scenes, path, how, hears, stop)
        group.wait()
    return load_supervisor(path, clip_weights=options.clip_weights, download=options.adapting.download)


def _key(
    options: TrainOptions, weights: Mapping[str, float], model: Model | None, scenes: str, supervisor: Supervisor | None
) -> dict[str, Any]:
    """What a resumed training must have in common with the first."""
    plain = {name: value for name, value in asdict(options).items() if name not in _ASIDE}
    if supervisor is not None and options.supervisor is None:
        plain["adapting"] = " ".join(_stage_one(options.adapting))
    begun = {} if model is None else {"init": model.id, "init_sha256": model.sha256, "network": model.network}
    seen = {} if supervisor is None else {"clip_sha256": supervisor.encoder.sha256, "prompt": supervisor.prompts.name}
    if supervisor is not None:
        seen["supervisor_sha256"] = supervisor.digest()
    return {**plain, **begun, **seen, "losses": dict(weights), "scenes": scenes}


def _command(folder: Path, options: TrainOptions) -> str:
    """What to type to train it again."""
    standard = TrainOptions()
    words = ["clippan train --scenes SCENES -o", folder.resolve().name]
    words += ["--backbone", options.network] if options.network else ["--init", Path(options.init or "").name]
    words += [word for name, value in options.settings.items() for word in ("--set", f"{name}={value}")]
    words += _stage_one(options.adapting) if options.supervisor is None else []
    words += [] if options.supervisor is None else ["--supervisor", Path(options.supervisor).name]
    words += [f"--loss {name}={value:g}" for name, value in options.losses.items()]
    for name in ("degradation", "teacher", "iterations", "batch", "rate", "consistency", "seed"):
        if getattr(options, name) != getattr(standard, name):
            words += [f"--{name}", str(getattr(options, name))]
    return " ".join([*words, *(["--keep-teacher"] if options.keep_teacher else [])])


def _stage_one(adapting: AdaptOptions) -> list[str]:
    """What to type to adapt on the way as it was."""
    standard, words = AdaptOptions(), list[str]()
    for name in ("clip", "clip_weights", "precision", "ms_input", "prompt", "prompts", "iterations"):
        if (value := getattr(adapting, name)) != getattr(standard, name):
            option = "adapt-iterations" if name == "iterations" else name.replace("_", "-")
            words += [f"--{option}", Path(value).name if isinstance(value, str) else str(value)]
    return words


@dataclass(frozen=True)
class _Product(ModelProduct):
    """A model, and how it stands on the tiles kept aside."""

    task: FullResolution | None = None

    def judge(self, folder: Path, net: Network) -> TrainingRecord:
        """See :class:`ModelProduct`."""
        assert self.task is not None
        with torch.no_grad():
            table = {**self.task.beside, "model": self.task.validate(net)}
        draw_page(folder, table)
        rounded = {name: {index: round(value, 4) for index, value in row.items()} for name, row in table.items()}
        return replace(self.recipe, held_out=rounded, skipped=self.task.skipped)
