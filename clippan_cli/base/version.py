"""Which clippan this is, and which algorithms it has."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

__version__ = version("clippan")

ALGORITHM = "2026-11e"
"""The key of the algorithms: raise it whenever pixels or weights may change, so that a resumed run never mixes two.

It is the month of the change, with a letter behind it if there was one already (``2026-11b``). ``tests/test_pixels.py``
fails where the pixels of the sample scenes changed and the key did not.
"""


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
    """Look up what is installed."""
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
