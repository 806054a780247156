"""Pansharpening of satellite scenes; each function is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AdaptOptions",
    "AssessOptions",
    "Options",
    "PretrainOptions",
    "TrainOptions",
    "__version__",
    "adapt",
    "assess",
    "explain",
    "pretrain",
    "sharpen",
    "train",
]

if TYPE_CHECKING:
    from clippan_cli.assessment.assess import assess
    from clippan_cli.assessment.options import AssessOptions
    from clippan_cli.sharpening.options import Options
    from clippan_cli.sharpening.sharpen import explain, sharpen
    from clippan_cli.training.adapt import adapt
    from clippan_cli.training.options import AdaptOptions, PretrainOptions, TrainOptions
    from clippan_cli.training.pretrain import pretrain
    from clippan_cli.training.train import train

_HOMES = {
    "AdaptOptions": "clippan_cli.training.options",
    "adapt": "clippan_cli.training.adapt",
    "TrainOptions": "clippan_cli.training.options",
    "train": "clippan_cli.training.train",
    "AssessOptions": "clippan_cli.assessment.options",
    "assess": "clippan_cli.assessment.assess",
    "Options": "clippan_cli.sharpening.options",
    "PretrainOptions": "clippan_cli.training.options",
    "pretrain": "clippan_cli.training.pretrain",
    "explain": "clippan_cli.sharpening.sharpen",
    "sharpen": "clippan_cli.sharpening.sharpen",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
