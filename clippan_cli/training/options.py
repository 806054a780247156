"""What the user may say of a training; each command has its dataclass, and what several share is stated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clippan_cli.base import rerun
from clippan_cli.base.options import option
from clippan_cli.base.values import SETTINGS, WEIGHTS, Setting
from clippan_cli.fusion.registry import CONSISTENCY, DEFAULT
from clippan_cli.opening.options import SceneOptions
from clippan_cli.supervision.forms import SHARED
from clippan_cli.supervision.prompts import DEFAULT as DEFAULT_PROMPT

NONE = "none"
"""Stands for no supervisor, or no teacher."""

SUPERVISOR = "supervisor-1"
"""The supervisor that ships: it watches where none is named, and its CLIP is adapted where none is named."""


def _iterations(default: int) -> Any:
    return option(default, "Sets the number of steps of the optimiser.", least=1)


def _batch(default: int, what: str = "tiles") -> Any:
    return option(default, f"Sets the number of {what} in a step, over all processes.", least=1)


def _rate(default: float) -> Any:
    return option(default, "Sets the highest learning rate.", least=0)


def _angle(default: float) -> Any:
    return option(default, "Weighs the spectral angle beside the error.", least=0)


def _consistency() -> Any:
    return option(CONSISTENCY, "Sets the number of back-projections inside the graph.", least=0, most=20)


def _seed() -> Any:
    return option(0, "Seeds every random choice.", least=0, most=2**31)


def _every(default: int) -> Any:
    return option(default, "Sets the steps between checkpoints and validations.", least=1, identity=False)


def _readers() -> Any:
    return option(
        2, "Sets how many processes read tiles; with 0 the training reads them itself.", "-j", "--jobs", least=0,
        identity=False,
    )  # fmt: skip


def _device() -> Any:
    return option("auto", "Says where to compute.", metavar="auto|cpu|cuda[:N]", variable=True, identity=False)


def _losses() -> Any:
    return option({}, "Weighs a loss; 0 switches it off.", "--loss", metavar="NAME=WEIGHT", form=WEIGHTS)


def _init(default: str | None, help: str) -> Any:  # noqa: A002
    return option(default, help, metavar="ID|DIR", place=True)


def _folders(what: str, metavar: str = "DIR") -> Any:
    return option((), f"Names a folder with {what}.", metavar=metavar, place=True, identity=False, repeated=True)


def _procedural() -> Any:
    return option(128, "Sets how many images are made from nothing, beside those.", least=0)


def _settings() -> Any:
    return option({}, "Sets a setting of the new network.", "--set", metavar="NAME=VALUE", form=SETTINGS)


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What the user may say of CLIP and of how it is shown images.

    Args:
        clip: The id of the shipped supervisor, for its CLIP; the name of an architecture of open_clip; or a JSON file
            with a configuration.
        clip_weights: CLIP's weights: a tag, a file, or ``"none"``; None for the usual ones, or those of a supervisor.
        download: Whether the weights of a tag may be fetched.
        precision: CLIP's precision, ``"fp32"`` or ``"bf16"``.
        ms_input: How bands become three channels; None for the way that suits CLIP.
        adapters: The form of the adapters: ``"shared"`` by all images, or the paper's ``"six"``.
        prompt: The name of the wording for HRMS.
        prompts: A TOML file with wordings; None for the package's own.
    """

    clip: str = option(
        SUPERVISOR,
        "Names CLIP: the one that ships, an architecture as open_clip does, or its configuration.",
        metavar="NAME|FILE",
        place=True,
    )
    clip_weights: str | None = option(
        None,
        "Names CLIP's weights; with none it stays untrained, for trials only.",
        metavar="FILE|TAG|none",
        variable=True,
        place=True,
        identity=False,
        repeated=True,
    )
    download: bool = option(False, "Fetches CLIP's weights if they are not on this machine.", identity=False)
    precision: str = option("fp32", "Sets CLIP's precision.", metavar="fp32|bf16")
    ms_input: str | None = option(
        None,
        "Says how MS bands become CLIP's three channels; the CLIP that ships looks at differences.",
        metavar="differences|conv|pca|rgb|gbnir",
    )
    adapters: str = option(
        SHARED, "Says whether all images share an adapter, or each type has its own.", metavar="shared|six"
    )
    prompt: str = option(
        DEFAULT_PROMPT, "Chooses the wording for HRMS: wald, khan, first, second, noise …", metavar="NAME"
    )
    prompts: str | None = option(
        None,
        "Takes a TOML with wordings of your own.",
        metavar="FILE",
        place=True,
        identity=False,
        repeated=True,
    )


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """What the user may say of an adaptation (stage I).

    Args:
        clip: What is said of CLIP.
        losses: The weights of the losses, by name; a loss that is not named keeps its own, 0 switches one off.
        type_temperature: The temperature τ_c of the loss over types.
        scene_temperature: The temperature τ_i of the loss over scenes.
        iterations: The number of steps of the optimiser.
        batch: The number of tiles in a step.
        rate: The highest learning rate.
        seed: The seed of every random choice.
        every: The number of steps between checkpoints and validations.
        jobs: The number of processes that read tiles.
        device: The device to compute on: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        scene: What is said of the scenes.
        overwrite: Whether an existing supervisor may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    clip: ClipOptions = field(default_factory=ClipOptions)
    losses: Mapping[str, float] = _losses()
    type_temperature: float = option(0.07, "Sets the temperature of the loss over types.", least=1e-3)
    scene_temperature: float = option(0.07, "Sets the temperature of the loss over scenes.", least=1e-3)
    iterations: int = _iterations(300)
    batch: int = _batch(8)
    rate: float = _rate(1e-3)
    seed: int = _seed()
    every: int = _every(50)
    jobs: int = _readers()
    device: str = _device()
    scene: SceneOptions = field(default_factory=SceneOptions)
    overwrite: bool = rerun.overwrite()
    resume: bool = rerun.resume()


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the user may say of a training at full resolution (stage II).

    Args:
        init: The model to begin with: a shipped one's id, or a folder; it is passed over where ``backbone`` is given.
        backbone: The name of the architecture, where a network begins anew.
        settings: The settings of that network.
        supervisor: The supervisor's folder or, of a shipped one, its id; ``"none"`` for none; None for the one that
            ships or, where another CLIP is named, to adapt that one first.
        clip: What is said of CLIP, where a supervisor is adapted first.
        adapt_iterations: The number of steps of that adaptation.
        losses: The weights of the losses, by name; a loss that is not named keeps its own, 0 switches one off.
        degradation: How the spectral loss sees MS: ``"mtf"`` or ``"bicubic"``.
        teacher: A model or method to imitate, or ``"none"``; None for the shipped model where a network begins anew,
            else for none.
        keep_teacher: Whether the teacher's weight stays, instead of falling to 0.
        iterations: The number of steps of the optimiser.
        batch: The number of tiles in a step, over all processes.
        rate: The highest learning rate; None for what suits a network that goes on, or one that begins anew.
        consistency: The number of back-projections inside the graph.
        seed: The seed of every random choice.
        every: The number of steps between checkpoints and validations.
        jobs: The number of processes that read tiles.
        device: The device to compute on: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        scene: What is said of the scenes.
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    init: str = _init(DEFAULT, "Names the model to begin with (clippan models list).")
    backbone: str | None = option(None, "Begins anew with this network instead.", metavar="NAME")
    settings: Mapping[str, Setting] = _settings()
    supervisor: str | None = option(
        None,
        f"Names what clippan adapt made; without it, {SUPERVISOR} watches, or the named CLIP is adapted first.",
        metavar="ID|DIR|none",
        place=True,
    )
    clip: ClipOptions = field(default_factory=ClipOptions)
    adapt_iterations: int = option(300, "Sets the steps of an adaptation that comes first.", least=1)
    losses: Mapping[str, float] = _losses()
    degradation: str = option("mtf", "Says how the spectral loss brings the image down to MS.", metavar="mtf|bicubic")
    teacher: str | None = option(
        None,
        f"Names what to imitate at the beginning: {DEFAULT} for a network that begins anew, else none.",
        metavar="MODEL|METHOD|none",
    )
    keep_teacher: bool = option(False, "Imitates it to the end.")
    iterations: int = _iterations(150)
    batch: int = _batch(4)
    rate: float | None = option(
        None, "Sets the highest learning rate: 1e-4 from a model, 5e-4 for a network that begins anew.", least=0
    )
    consistency: int = _consistency()
    seed: int = _seed()
    every: int = _every(25)
    jobs: int = _readers()
    device: str = _device()
    scene: SceneOptions = field(default_factory=SceneOptions)
    overwrite: bool = rerun.overwrite()
    resume: bool = rerun.resume()

    def adapting(self) -> AdaptOptions:
        """Return how a supervisor is adapted on the way."""
        return AdaptOptions(
            clip=self.clip,
            iterations=self.adapt_iterations,
            seed=self.seed,
            jobs=self.jobs,
            device=self.device,
            scene=self.scene,
            overwrite=self.overwrite,
            resume=self.resume,
        )


@dataclass(frozen=True, kw_only=True)
class AblateOptions:
    """What the user may say of an ablation.

    Args:
        seeds: The number of trainings of each line of the table.
        training: What the lines have in common.
    """

    seeds: int = option(3, "Sets the number of trainings of each line of a table.", least=1)
    training: TrainOptions = field(default_factory=TrainOptions)


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """What the user may say of a tuning, one scale down.

    Args:
        init: The model to begin with: a shipped one's id, or a folder.
        weights: The weights that learn: ``"refine"``, a few more for each band, by least squares; ``"full"``, all that
            the model has, or ``"freeze"``, its last layer's only, step by step.
        upward: Whether a refinement is dropped where what it learns two scales down does not help one scale down.
        seconds: After how many seconds a refinement has seen enough.
        iterations: The number of steps of the optimiser.
        rate: The highest learning rate.
        angle: The weight of the spectral angle.
        consistency: The number of back-projections inside the graph.
        seed: The seed of every random choice.
        every: The number of steps between checkpoints.
        device: The device to compute on: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        scene: What is said of the scenes.
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    init: str = _init(DEFAULT, "Names the model to begin with (clippan models list).")
    weights: str = option(
        "refine",
        "Says what learns: a few more weights for each band, in seconds; all weights; or the last layer's only.",
        metavar="refine|full|freeze",
    )
    upward: bool = option(
        False, "Drops a refinement where what it learns two scales down does not help one scale down."
    )
    seconds: float = option(60.0, "Sets after how many seconds a refinement has seen enough.", least=0)
    iterations: int = _iterations(300)
    rate: float = _rate(5e-4)
    angle: float = _angle(1.0)
    consistency: int = _consistency()
    seed: int = _seed()
    every: int = _every(50)
    device: str = _device()
    scene: SceneOptions = field(default_factory=SceneOptions)
    overwrite: bool = rerun.overwrite()
    resume: bool = rerun.resume()


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """What the user may say of the training of a prior.

    Args:
        images: Folders with images, MS or RGB.
        scenes: Folders with real pairs.
        procedural: The number of images to make from nothing; they are a part of the mixture in any case.
        init: A model to begin with, a shipped one's id or a folder; its architecture is taken. None to begin anew.
        network: The name of the architecture.
        settings: The settings of a new network.
        bands: The number of MS bands; None for any number, if the architecture can.
        iterations: The number of steps of the optimiser.
        batch: The number of pairs in a step.
        rate: The highest learning rate.
        angle: The weight of the spectral angle.
        consistency: The number of back-projections inside the graph.
        seed: The seed of every random choice.
        every: The number of steps between checkpoints and validations.
        device: The device to compute on: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        scene: What is said of the scenes.
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    images: tuple[str, ...] = _folders("images (GeoTIFF, PNG, JPEG) to simulate pairs from")
    scenes: tuple[str, ...] = _folders("real scenes, or a list of them, or a benchmark's file", "DIR|LIST|FILE")
    procedural: int = _procedural()
    init: str | None = _init(None, "Names a model to go on from, instead of beginning anew.")
    network: str = option(
        "injector",
        "Chooses the network: injector, pnn, lambda-pnn, arbrpn, lformer, pan-mamba, ship.",
        metavar="NAME",
    )
    settings: Mapping[str, Setting] = _settings()
    bands: int | None = option(None, "Sets the number of MS bands, for networks that serve one only.", least=1)
    iterations: int = _iterations(12_000)
    batch: int = _batch(4, "pairs")
    rate: float = _rate(4e-3)
    angle: float = _angle(1.5)
    consistency: int = _consistency()
    seed: int = _seed()
    every: int = _every(500)
    device: str = _device()
    scene: SceneOptions = field(default_factory=SceneOptions)
    overwrite: bool = rerun.overwrite()
    resume: bool = rerun.resume()


@dataclass(frozen=True, kw_only=True)
class TeachOptions:
    """What the user may say of the training of a small CLIP.

    Args:
        images: Folders with images, MS or RGB.
        scenes: Folders with real pairs.
        procedural: The number of images to make from nothing; they are a part of the mixture in any case.
        init: The model whose images are among the fusions.
        places: The number of places whose fusions are made first.
        iterations: The number of steps of the optimiser.
        batch: The number of places in a step.
        rate: The highest learning rate.
        seed: The seed of every random choice.
        every: The number of steps between checkpoints and validations.
        device: The device to compute on: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        scene: What is said of the scenes.
        overwrite: Whether an existing supervisor may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    images: tuple[str, ...] = _folders("images (GeoTIFF, PNG, JPEG) to simulate pairs from")
    scenes: tuple[str, ...] = _folders("real scenes, or a list of them, or a benchmark's file", "DIR|LIST|FILE")
    procedural: int = _procedural()
    init: str = _init(DEFAULT, "Names the model whose images are among the fusions.")
    places: int = option(1200, "Sets how many places are fused, well and badly, before the training begins.", least=44)
    iterations: int = _iterations(4000)
    batch: int = _batch(6, "places")
    rate: float = _rate(3e-3)
    seed: int = _seed()
    every: int = _every(200)
    device: str = _device()
    scene: SceneOptions = field(default_factory=SceneOptions)
    overwrite: bool = rerun.overwrite()
    resume: bool = rerun.resume()
