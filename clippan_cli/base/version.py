"""Which clippan this is, and which algorithms it has."""

from __future__ import annotations

import platform
from dataclasses import dataclass

__version__ = "0.2.0"

ALGORITHM = "2026-11"
"""Raised whenever pixels or weights may change, so that a resumed run never mixes two algorithms."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The versions of everything that has a say in the pixels."""

    clippan: str
    algorithm: str
    python: str
    torch: str
    rasterio: str
    gdal: str
    numpy: str


def versions() -> Versions:
    """Look them up."""
    import numpy as np  # none of them at start-up
    import rasterio
    import torch

    return Versions(
        clippan=__version__,
        algorithm=ALGORITHM,
        python=platform.python_version(),
        torch=str(torch.__version__),
        rasterio=rasterio.__version__,
        gdal=rasterio.__gdal_version__,
        numpy=np.__version__,
    )
