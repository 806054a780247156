"""Pansharpening of satellite scenes; each function is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clippan_cli.assessment.assess import assess
    from clippan_cli.assessment.options import AssessOptions
    from clippan_cli.base.machine import MachineOptions
    from clippan_cli.base.version import __version__
    from clippan_cli.opening.options import SceneOptions
    from clippan_cli.sharpening.options import SharpenOptions
    from clippan_cli.sharpening.sharpen import explain, sharpen
    from clippan_cli.training.ablate import ablate
    from clippan_cli.training.adapt import adapt
    from clippan_cli.training.options import (
        AblateOptions,
        AdaptOptions,
        ClipOptions,
        PretrainOptions,
        TrainOptions,
        TuneOptions,
    )
    from clippan_cli.training.pretrain import pretrain
    from clippan_cli.training.train import train
    from clippan_cli.training.tune import tune

__all__ = [
    "AblateOptions",
    "AdaptOptions",
    "AssessOptions",
    "ClipOptions",
    "MachineOptions",
    "PretrainOptions",
    "SceneOptions",
    "SharpenOptions",
    "TrainOptions",
    "TuneOptions",
    "__version__",
    "ablate",
    "adapt",
    "assess",
    "explain",
    "pretrain",
    "sharpen",
    "train",
    "tune",
]

_HOMES = {
    "AssessOptions": "assessment.options",
    "MachineOptions": "base.machine",
    "SceneOptions": "opening.options",
    "SharpenOptions": "sharpening.options",
    "__version__": "base.version",
    "ablate": "training.ablate",
    "adapt": "training.adapt",
    "assess": "assessment.assess",
    "explain": "sharpening.sharpen",
    "pretrain": "training.pretrain",
    "sharpen": "sharpening.sharpen",
    "train": "training.train",
    "tune": "training.tune",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'training.options')}"), name)
