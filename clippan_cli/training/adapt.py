"""Stage I of CLIPPan: teach CLIP what MS, PAN and HRMS are, and what a bad fusion is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clippan_cli.errors import UsageError
from clippan_cli.fusion.consistency import back_project
from clippan_cli.fusion.registry import method
from clippan_cli.supervision.encoder import UNTRAINED, Encoder
from clippan_cli.supervision.losses import alignment_loss, scene_loss, type_loss
from clippan_cli.supervision.projector import Projector, linear_map
from clippan_cli.supervision.prompts import DEFAULT as DEFAULT_PROMPT
from clippan_cli.supervision.prompts import read_prompts
from clippan_cli.supervision.supervisor import (
    DISTORTED,
    HRMS,
    MS,
    PAN,
    RECORD,
    Supervisor,
    read_record,
    save_supervisor,
)
from clippan_cli.tiling.engine import choose_device
from clippan_cli.tiling.options import Deaf, Listener
from clippan_cli.training.draw import Draw
from clippan_cli.training.group import Group
from clippan_cli.training.loop import Loop, Schedule, Task, check_folder
from clippan_cli.training.scenes import wanted
from clippan_cli.training.sites import Site, names, open_sites
from clippan_cli.training.tiles import Tiles, TileStream, held_tiles

LOSSES = {"type": 1.0, "scene": 1.0, "fusion": 10.0}
"""InterMCL, IntraMCL and fusion alignment, with their weights (CLIPPan's Table 3)."""

REFERENCE = "bdsd-pc"
"""What makes HRMS images for stage I."""

_STEPS = 3
_HELD = 16
_TEMPERATURE = 0.07


@dataclass(frozen=True)
class AdaptOptions:
    """How to adapt.

    Args:
        clip: An architecture of open_clip, or a JSON file with a configuration.
        clip_weights: A tag, a file, or ``"none"``.
        download: Whether the weights of a tag may be fetched.
        precision: Of CLIP, ``"fp32"`` or ``"bf16"``.
        ms_input: How bands become three channels.
        prompt: Name of the wording for HRMS.
        prompts: A TOML file with wordings; None for the package's own.
        losses: Weights of the losses, by name; those that are not named keep theirs, 0 switches one off.
        type_temperature: τ_c.
        scene_temperature: τ_i.
        iterations: Steps of the optimiser.
        batch: Tiles in a step.
        rate: Highest learning rate.
        seed: Of everything random.
        every: Steps between checkpoints and validations.
        jobs: Processes that read tiles.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        overwrite: Whether an existing supervisor may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    clip: str = "ViT-B-32-quickgelu"
    clip_weights: str = "openai"
    download: bool = False
    precision: str = "fp32"
    ms_input: str = "conv"
    prompt: str = DEFAULT_PROMPT
    prompts: str | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    type_temperature: float = _TEMPERATURE
    scene_temperature: float = _TEMPERATURE
    iterations: int = 300
    batch: int = 8
    rate: float = 1e-3
    seed: int = 0
    every: int = 50
    jobs: int = 2
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False


_ASIDE = ("overwrite", "resume", "device", "every", "jobs", "download", "clip_weights", "prompts", "losses")


def adapt(
    scenes: Sequence[str],
    output: str | Path,
    options: AdaptOptions | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Adapt CLIP to the types of images in the scenes.

    Args:
        scenes: Folders of scenes, or lists.
        output: The supervisor's folder.
        options: How.
        listener: Hears of progress.
        stop: Set it to stop after the step in work; ``resume`` continues.

    Returns:
        The supervisor's record.

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
) -> dict[str, Any]:
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
    return Loop(folder, net, task, SupervisorProduct(key, task), schedule, key, hears, stop).run(options.resume)


def projector(kind: str, sites: Sequence[Site]) -> Projector:
    """As the first scene's bands are, stretched like its tiles."""
    site = sites[0]
    low, width = site.low[:-1], (site.high - site.low)[:-1]
    mean, covariance = (site.mean - low) / width, site.covariance / (width[:, None] * width)
    return Projector(kind, *linear_map(kind, site.wavelengths, mean, covariance))


def chosen_weights(said: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """The weights of all losses.

    Raises:
        UsageError: There is no such loss, or none is left.
    """
    unknown = set(said) - set(known)
    if unknown:
        raise UsageError(f"unknown loss {sorted(unknown)[0]!r}", "known: " + ", ".join(known))
    weights = {**known, **said}
    if not any(weights.values()):
        raise UsageError("all losses are switched off", "give one of them a weight")
    return weights


@dataclass(frozen=True)
class Lesson:
    """Tiles, good fusions of them, and bad ones.

    Args:
        tiles: MS and PAN.
        hrms: ``(B, C, H, W)``.
        distorted: ``(B, C, H, W)``.
    """

    tiles: Tiles
    hrms: Tensor
    distorted: Tensor


class Adapting(Task):
    """Three losses on the features of triplets and of bad fusions.

    Args:
        stream: The tiles of each step.
        held: Tiles to validate on.
        weights: Of the losses.
        temperatures: τ_c and τ_i.
        seed: Of what is distorted how.
    """

    checks = ("type_accuracy", "retrieval", "cosine")

    def __init__(
        self,
        stream: TileStream,
        held: Sequence[Tiles],
        weights: Mapping[str, float],
        temperatures: tuple[float, float],
        seed: int,
    ) -> None:
        self._stream, self._held, self._weights = stream, held, weights
        self._temperatures, self._seed = temperatures, seed
        self.terms = tuple(name for name, weight in weights.items() if weight)

    def draw(self, iteration: int, size: int) -> Lesson:
        """See :meth:`Task.draw`."""
        return lesson(self._stream(iteration, size), Draw(self._seed * 1_000_003 + iteration))

    def losses(self, net: nn.Module, sample: Lesson) -> dict[str, Tensor]:
        """See :meth:`Task.losses`."""
        assert isinstance(net, Supervisor)
        texts, seen = net.texts(), _seen(net, sample)
        size = len(sample.hrms)
        three = torch.cat(seen[:3])
        found = {}
        if "type" in self.terms:
            types = torch.arange(4, device=three.device).repeat_interleave(size)
            found["type"] = type_loss(torch.cat(seen), types, texts, self._temperatures[0])
        if "scene" in self.terms:
            scenes = torch.arange(size, device=three.device).repeat(3)
            alike = sample.tiles.overlaps.to(three.device).repeat(3, 3)
            found["scene"] = scene_loss(three, scenes, self._temperatures[1], alike)
        if "fusion" in self.terms:
            images = alignment_loss(net.adapters.fuse_images(seen[MS], seen[PAN]), seen[HRMS].detach())
            made = net.adapters.fuse_texts(texts[MS : MS + 1], texts[PAN : PAN + 1])
            found["fusion"] = images + alignment_loss(made, texts[HRMS : HRMS + 1].detach())
        return found

    def weights(self, progress: float) -> dict[str, float]:
        """See :meth:`Task.weights`."""
        return dict(self._weights)

    def validate(self, net: nn.Module) -> dict[str, float]:
        """On tiles that are not learned from: is the type recognised, the place found again, the fusion foreseen?"""
        assert isinstance(net, Supervisor)
        lessons = [lesson(tiles, Draw(i)) for i, tiles in enumerate(self._held)]
        seen = [torch.cat(parts) for parts in zip(*(_seen(net, each) for each in lessons), strict=True)]
        texts = net.texts()
        right = [
            (part @ texts.T).argmax(1) == kind for kind, part in zip((MS, PAN, HRMS, DISTORTED), seen, strict=True)
        ]
        return {
            "type_accuracy": float(torch.cat(right).float().mean()),
            "retrieval": _retrieval(seen[MS], seen[HRMS]),
            "cosine": float((net.adapters.fuse_images(seen[MS], seen[PAN]) * seen[HRMS]).sum(1).mean()),
        }

    def where(self, sample: Lesson) -> str:
        """See :meth:`Task.where`."""
        return sample.tiles.where

    @property
    def skipped(self) -> int:
        """Scenes that could not be read to the end."""
        return len(self._stream.lost)


def lesson(tiles: Tiles, draw: Draw) -> Lesson:
    """Fuse tiles well, and spoil the result."""
    with torch.no_grad():
        good = [back_project(site.fitted[REFERENCE].fuse(tile), tile, _STEPS) for site, tile in tiles.singly()]
        hrms = torch.stack(good)
        bad = [distort(one, tiles.ms_up[i], draw) for i, one in enumerate(hrms)]
    return Lesson(tiles, hrms, torch.stack(bad))


def distort(hrms: Tensor, ms_up: Tensor, draw: Draw) -> Tensor:
    """One of the ways in which a fusion fails: blurred, over-sharpened, wrong colours, or detail in wrong places.

    Args:
        hrms: ``(C, H, W)``.
        ms_up: ``(C, H, W)``, the interpolated MS.
        draw: Which, and how much.
    """
    way = draw.below(4)
    soft = F.avg_pool2d(F.pad(hrms[None], (2, 2, 2, 2), mode="reflect"), 5, 1)[0]
    if way == 0:
        return soft
    if way == 1:
        return hrms + draw.uniform(1.0, 2.0) * (hrms - soft)
    if way == 2:
        gains = (0.35 * draw.normal(len(hrms), 1, 1)).exp()
        return hrms * gains.to(hrms)
    moves = [(2 + draw.below(4)) * (1 if draw.chance(0.5) else -1) for _ in range(2)]
    return ms_up + (hrms - ms_up).roll(moves, (1, 2))


def _seen(net: Supervisor, sample: Lesson) -> list[Tensor]:
    """Features of MS, PAN, HRMS and of what is distorted."""
    tiles = sample.tiles
    return [
        net.see_bands(tiles.bands(tiles.ms_up), "ms"),
        net.see_pan(tiles.pans(tiles.pan)),
        net.see_bands(tiles.bands(sample.hrms), "hrms"),
        net.see_bands(tiles.bands(sample.distorted), "hrms"),
    ]


def _retrieval(first: Tensor, second: Tensor) -> float:
    """How often the nearest of the second shows the same place."""
    nearest = (first @ second.T).argmax(1)
    return float((nearest == torch.arange(len(first), device=first.device)).float().mean())


@dataclass(frozen=True)
class SupervisorProduct:
    """A supervisor's folder.

    Args:
        recipe: What to say of the training.
        task: Validates it.
    """

    recipe: Mapping[str, Any]
    task: Adapting
    record: str = RECORD

    def read(self, folder: Path) -> dict[str, Any]:
        """See :class:`Product`."""
        return read_record(folder)

    def write(self, folder: Path, net: nn.Module, said: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`Product`."""
        assert isinstance(net, Supervisor)
        with torch.no_grad():
            found = {name: round(value, 4) for name, value in self.task.validate(net).items()}
        training = {**self.recipe, **said, "skipped": self.task.skipped}
        return save_supervisor(folder, net, {"training": training, "held_out": found})
