"""What the user may say of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clippan_cli.fusion.registry import DEFAULT
from clippan_cli.supervision.prompts import DEFAULT as DEFAULT_PROMPT

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


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Args:
        init: The model to begin with: a shipped one's id, or a folder; None to begin anew with ``network``.
        network: Name of the architecture, when it begins anew.
        settings: What to make it with.
        supervisor: Its folder; ``"none"`` for none; None to adapt one first.
        adapting: How to adapt it then.
        clip_weights: Where the supervisor's CLIP lies now; None for where it was.
        losses: Weights of the losses, by name; those that are not named keep theirs, 0 switches one off.
        degradation: How the spectral loss sees MS: ``"mtf"`` or ``"bicubic"``.
        teacher: A model or method to imitate, or ``"none"``; None for the shipped model where a network begins anew,
            else for none.
        keep_teacher: Whether its weight stays, instead of falling to 0.
        iterations: Steps of the optimiser.
        batch: Tiles in a step, over all processes.
        rate: Highest learning rate.
        consistency: Back-projections inside the graph.
        seed: Of everything random.
        every: Steps between checkpoints and validations.
        jobs: Processes that read tiles.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    init: str | None = DEFAULT
    network: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    supervisor: str | None = None
    adapting: AdaptOptions = field(default_factory=AdaptOptions)
    clip_weights: str | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    degradation: str = "mtf"
    teacher: str | None = None
    keep_teacher: bool = False
    iterations: int = 300
    batch: int = 4
    rate: float = 5e-4
    consistency: int = 2
    seed: int = 0
    every: int = 50
    jobs: int = 2
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False


_PROCEDURAL = 128


@dataclass(frozen=True)
class PretrainOptions:
    """How to train a prior.

    Args:
        images: Folders with images, MS or RGB.
        scenes: Folders with real pairs.
        init: A model to begin with, a shipped one's id or a folder; its architecture is taken. None to begin anew.
        network: Name of the architecture.
        settings: What to make it with.
        bands: MS bands; None for any number, if the architecture can.
        iterations: Steps of the optimiser.
        batch: Pairs in a step.
        rate: Highest learning rate.
        angle: Weight of the spectral angle.
        consistency: Back-projections inside the graph.
        seed: Of everything random.
        procedural: How many images to make from nothing; they are a part of the mixture in any case.
        every: Steps between checkpoints and validations.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    images: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    init: str | None = None
    network: str = "injector"
    settings: Mapping[str, Any] = field(default_factory=dict)
    bands: int | None = None
    iterations: int = 12_000
    batch: int = 4
    rate: float = 4e-3
    angle: float = 1.5
    consistency: int = 2
    seed: int = 0
    procedural: int = _PROCEDURAL
    every: int = 500
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True)
class TuneOptions:
    """How to tune.

    Args:
        init: The model to begin with: a shipped one's id, or a folder.
        tune: ``"full"``, all weights, or ``"freeze"``, the last layer only.
        iterations: Steps of the optimiser.
        rate: Highest learning rate.
        angle: Weight of the spectral angle.
        consistency: Back-projections inside the graph.
        seed: Of everything random.
        every: Steps between checkpoints.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` …
        overwrite: Whether an existing model may be replaced.
        resume: Whether to continue a training that was stopped.
    """

    init: str
    tune: str = "full"
    iterations: int = 300
    rate: float = 5e-4
    angle: float = 1.0
    consistency: int = 2
    seed: int = 0
    every: int = 100
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False
