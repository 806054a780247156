"""Stage II of CLIPPan: train a network on real scenes at full resolution, under the supervisor's eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch

from clippan_cli.base.identity import Key, tell_apart
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import choose_device
from clippan_cli.base.options import identity
from clippan_cli.errors import InputError, UsageError
from clippan_cli.fusion.method import Method
from clippan_cli.fusion.registry import ANCHORS, DEFAULT, method
from clippan_cli.modelstore.model import RECORD, Model
from clippan_cli.modelstore.records import ModelRecord
from clippan_cli.modelstore.supervisor import RECORD as SUPERVISOR_RECORD
from clippan_cli.modelstore.supervisor import find_supervisor, load_supervisor
from clippan_cli.networks.injector import Injector
from clippan_cli.networks.network import Network
from clippan_cli.networks.refined import Refined
from clippan_cli.networks.registry import network
from clippan_cli.scene.find import find_all
from clippan_cli.supervision.supervisor import Supervisor
from clippan_cli.training.adapt import Classroom, adapt_on, check_stage_one, read_clip, stage_one_methods
from clippan_cli.training.data.reduced_scene import ReducedScene
from clippan_cli.training.data.surveyed_scenes import SIDE, Site, survey_scenes
from clippan_cli.training.data.tile_reader import HELD, TileStream, held_tiles
from clippan_cli.training.loop.distributed import Group, join_group
from clippan_cli.training.loop.steps import Loop, begin_from, check_folder, discard
from clippan_cli.training.loop.task import Schedule, Trained
from clippan_cli.training.objectives.stage_two import ANEW, LOSSES, FullResolution
from clippan_cli.training.objectives.truth import Truth, reduce_sites
from clippan_cli.training.objectives.weights import choose_weights
from clippan_cli.training.objectives.without_truth import DEGRADATIONS
from clippan_cli.training.options import NONE, SUPERVISOR, TrainOptions
from clippan_cli.training.products.judged_model import JudgedModel
from clippan_cli.training.products.recipe import make_recipe
from clippan_cli.training.refine import refine

_RATIOS = (1.5, 8.0)
_LEAST_PLACES = 2
_RATES = {True: 5e-4, False: 1e-4}
_LESSONS = """Trained on tiles of real scenes at full resolution, without a truth. Weights of the losses: {};
{} back-projections. The language loss is CLIPPan's: {}."""


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
        scenes: Folders of scenes, lists, or collections.
        output: The folder of the new model.
        options: What the user says; None for the defaults.
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
    find_all(scenes)
    check_folder(folder, RECORD, overwrite=options.overwrite, resume=options.resume)
    with join_group(choose_device(options.device)) as group:
        if options.batch % group.size:
            raise UsageError(
                f"`batch={options.batch}` cannot be shared by {group.size} processes", "give a multiple of their number"
            )
        hears = hears if group.leads else Deaf()
        # What is wrong shall be said before CLIP is read.
        methods = stage_two_methods(options, weights, group.device)
        check_beginning(options, folder)
        if group.leads and options.overwrite:
            # Else a resumed run would take the former model for this one, were this training stopped early.
            discard(folder, RECORD)
        work = _Work(folder=folder, options=options, group=group, hears=hears, stop=stop or Event())
        return work.run(work.ground(scenes, methods), weights)


@dataclass(frozen=True)
class Ground:
    """What several trainings can share.

    Args:
        sites: The scenes.
        supervisor: The supervisor; None where none is needed.
    """

    sites: Sequence[Site]
    supervisor: Supervisor | None


def loss_weights(options: TrainOptions) -> dict[str, float]:
    """Return the weights of all losses, once the options have had their say.

    Raises:
        UsageError: An option means nothing.
    """
    anew = options.backbone is not None
    weights = choose_weights(options.losses, LOSSES | ANEW if anew else LOSSES)
    if options.supervisor == NONE:
        weights["language"] = 0.0
    if options.teacher == NONE:
        weights["teacher"] = 0.0
    elif options.teacher is not None and "teacher" not in options.losses:
        weights["teacher"] = ANEW["teacher"]
    if options.degradation not in DEGRADATIONS:
        raise UsageError(f"unknown degradation {options.degradation!r}", "known: " + ", ".join(DEGRADATIONS))
    return weights


def stage_two_methods(options: TrainOptions, weights: Mapping[str, float], device: torch.device) -> dict[str, Method]:
    """Return the methods that must know the scenes for stage II, by their names."""
    methods: dict[str, Method] = {name: method(name) for name in ANCHORS}
    if weights["teacher"]:
        methods["teacher"] = method(options.teacher or DEFAULT, device)
    return methods


def check_beginning(options: TrainOptions, folder: Path) -> None:
    """Refuse what a training cannot begin from.

    Raises:
        UsageError: There is no such network or model, or it looks at whole images.
    """
    if options.backbone is not None:
        _make_network(options, 4)
    else:
        begin_from(options.init, folder)
    if not watches(options):
        return
    if adapts_first(options):
        check_stage_one(options.adapting())
    else:
        _find_watcher(options)


def load_watcher(options: TrainOptions) -> Supervisor:
    """Load the supervisor that is named, or the one that ships.

    Raises:
        UsageError: There is none of that name.
        ModelError: It cannot be used, or its CLIP is not at hand.
    """
    clip = options.clip
    return load_supervisor(_find_watcher(options), clip_weights=clip.clip_weights, download=clip.download)


def _find_watcher(options: TrainOptions) -> Path:
    return find_supervisor(options.supervisor or SUPERVISOR)


def watches(options: TrainOptions) -> bool:
    """Tell whether a supervisor looks at the images: it may teach, or only be heard beside the truth."""
    return options.supervisor != NONE and options.losses.get("language", 1.0) != 0


def adapts_first(options: TrainOptions) -> bool:
    """Tell whether a supervisor is adapted on the way: that of another CLIP than the one that ships."""
    return options.supervisor is None and options.clip.clip != SUPERVISOR


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the parts of one training have in common.

    Args:
        folder: The folder of the product.
        options: What the user says of it.
        group: The processes that train together.
        hears: Hears of progress.
        stop: Stops the training after the step in work.
    """

    folder: Path
    options: TrainOptions
    group: Group
    hears: Listener
    stop: Event

    def ground(self, scenes: Sequence[str], methods: dict[str, Method]) -> Ground:
        """Survey the scenes once, and get the supervisor: none, one that is there, or a new one."""
        options = self.options
        if not watches(options):
            return Ground(survey_scenes(scenes, SIDE, methods, options.scene, self.hears), None)
        if not adapts_first(options):
            supervisor = load_watcher(options)
            return Ground(survey_scenes(scenes, SIDE, methods, options.scene, self.hears), supervisor)
        encoder = read_clip(options.clip, self.hears)
        sites = survey_scenes(scenes, SIDE, methods | stage_one_methods(), options.scene, self.hears)
        self._adapt(Classroom(sites, encoder))
        return Ground(sites, load_supervisor(self._adapted, encoder=encoder))

    @property
    def _adapted(self) -> Path:
        return self.folder / "supervisor"

    def _adapt(self, room: Classroom) -> None:
        """Adapt a supervisor on the way, in the first process; the others wait."""
        options = self.options
        if self.group.leads:
            self.hears.say("`clip` was given, and no `supervisor`: adapting one to these scenes first")
            check_folder(self._adapted, SUPERVISOR_RECORD, overwrite=options.overwrite, resume=options.resume)
            adapt_on(room, self._adapted, options.adapting(), self.hears, self.stop)
        self.group.wait()

    def run(self, ground: Ground, weights: Mapping[str, float]) -> Trained[ModelRecord]:
        """Train on ground that is known."""
        options, sites, supervisor = self.options, ground.sites, ground.supervisor
        bands, ratio = len(sites[0].wavelengths), max(max(site.sampling.ratio) for site in sites)
        if supervisor is not None:
            for site in sites:
                supervisor.check_fit(site.files.name, site.wavelengths)
        torch.manual_seed(options.seed)
        model, net = self._network(bands, ratio)
        net.to(self.group.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        watched = None if supervisor is None else supervisor.move_to(self.group.device)
        lessons = self._lessons(sites) if weights["truth"] else []
        truth = self._truth(sites) if self.group.leads else None
        task = FullResolution(
            stream=self._stream(ground),
            lessons=lessons,
            held=held_tiles(sites, HELD, self.group.device, self.hears) if self.group.leads else [],
            truth=truth,
            supervisor=watched,
            weights=weights,
            options=options,
            start=net,
        )
        if lessons and model is not None and isinstance(net, Injector):
            net = self._refine(Refined.of(net, bands, **model.settings).to(self.group.device), lessons, task)
        key = {**_key(options, weights, model, watched), "learned_from": tell_apart(site.files.name for site in sites)}
        stated = {**key, "sources": {"scenes": len(sites)}}
        rate = options.rate if options.rate is not None else _RATES[model is None]
        product = JudgedModel(
            network=options.backbone or ("refined" if isinstance(net, Refined) else model.network if model else ""),
            settings=options.settings if model is None else model.settings,
            ratios=_ratios(sites) if model is None else model.ratios,
            recipe=make_recipe("clippan train --scenes SCENES", self.folder, options, stated),
            lessons=_lessons(options, weights, watched),
            task=task,
        )
        loop = Loop(
            folder=self.folder,
            net=net,
            task=task,
            product=product,
            schedule=Schedule(options.iterations, options.batch, rate, options.every),
            key=key,
            hears=self.hears,
            stop=self.stop,
            group=self.group,
        )
        return loop.run(options.resume)

    def _network(self, bands: int, ratio: float) -> tuple[Model | None, Network]:
        """Make what is trained, and find what it begins from."""
        if self.options.backbone is not None:
            return None, _make_network(self.options, bands)
        model = begin_from(self.options.init, self.folder)
        model.check_fit(bands, ratio)
        return model, model.load().train()

    def _refine(self, net: Refined, lessons: Sequence[ReducedScene], task: FullResolution) -> Refined:
        """Begin with what follows from the scenes at once, if that is better before the truth."""
        before = net.mixture.detach().clone()
        refine(net, lessons, consistency=self.options.consistency, hears=Deaf(), stop=self.stop)
        helps = self.group.leads and task.beats_start(net)
        if self.group.any(helps):
            self.hears.say("a refinement comes first: it is better before the truth")
        else:
            with torch.no_grad():
                net.mixture.copy_(before)
        return net.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _truth(self, sites: Sequence[Site]) -> Truth:
        truth = Truth(reduce_sites(sites, self.group.device, self.hears, held=True))
        if truth.places < _LEAST_PLACES:
            self.hears.warn(
                "the truth can be asked at one place only, which proves nothing: give larger scenes, or more"
            )
        return truth

    def _lessons(self, sites: Sequence[Site]) -> list[ReducedScene]:
        found = reduce_sites(sites, self.group.device, self.hears, held=False)
        if not found:
            raise InputError(
                "no scene can be learned from one scale down: they are too small, or have gaps everywhere",
                "give a larger scene, or leave that out: `losses=truth=0`",
            )
        return [lesson for scene in found for lesson in scene]

    def _stream(self, ground: Ground) -> TileStream:
        options = self.options
        return TileStream(
            sites=ground.sites,
            batch=options.batch,
            seed=options.seed,
            workers=options.jobs,
            group=self.group,
            hears=self.hears,
        )


def train_on(
    ground: Ground, folder: Path, options: TrainOptions, group: Group, hears: Listener, *, stop: Event
) -> Trained[ModelRecord]:
    """Train on ground that is known; see :func:`train`."""
    work = _Work(folder=folder, options=options, group=group, hears=hears, stop=stop)
    return work.run(ground, loss_weights(options))


def _make_network(options: TrainOptions, bands: int) -> Network:
    """Make the network that a training begins anew with."""
    assert options.backbone is not None
    made = network(options.backbone, bands, **options.settings)
    if not made.tile_safe:
        raise UsageError(
            f"{options.backbone} with {dict(options.settings)} looks at whole images: it could not sharpen scenes",
            "leave its local form as it is",
        )
    return made


def _ratios(sites: Sequence[Site]) -> tuple[float, float]:
    """Return what a new network serves: the usual ratios, and those that it saw."""
    seen = [ratio for site in sites for ratio in site.sampling.ratio]
    return min(_RATIOS[0], *seen), max(_RATIOS[1], *seen)


def _lessons(options: TrainOptions, weights: Mapping[str, float], watched: Supervisor | None) -> str:
    """Say what the network learned from, for its card."""
    words = ", ".join(f"{name} {weight:g}" for name, weight in weights.items() if weight)
    teaching = (
        "off"
        if watched is None or not weights["language"]
        else f"CLIP {watched.encoder.name}, weights {watched.encoder.weights}"
    )
    return _LESSONS.format(words, options.consistency, teaching)


def _key(
    options: TrainOptions, weights: Mapping[str, float], model: Model | None, supervisor: Supervisor | None
) -> Key:
    """Return what a resumed training must have in common with the first; names of folders do not count."""
    plain = identity(options) | {"losses": dict(weights), "supervisor": None, "init": None}
    if model is not None:
        plain |= {"init": model.id, "init_sha256": model.sha256, "network": model.network}
    if supervisor is not None:
        plain |= {"supervisor": supervisor.digest(), "clip_sha256": supervisor.encoder.sha256}
        plain["prompt"] = supervisor.prompts.name
    return plain
