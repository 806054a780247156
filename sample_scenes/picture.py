"""A picture of a result: MS as delivered beside the sharpened image, in one stretch.

python sample_scenes/picture.py SCENE HRMS PNG
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

_SIDE = 512


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("hrms", type=Path)
    parser.add_argument("png", type=Path)
    arguments = parser.parse_args()
    with rasterio.open(arguments.hrms) as source:
        names = [name or "" for name in source.descriptions]
        bands = [names.index(name) + 1 if name in names else k for k, name in ((3, "red"), (2, "green"), (1, "blue"))]
        fused = source.read(bands)
    with rasterio.open(arguments.scene / "ms.tif") as source:
        ms = source.read(bands, out_shape=fused.shape, resampling=Resampling.nearest)
    low, high = np.percentile(ms, (1, 99), axis=(1, 2), keepdims=True)
    gap = np.full((3, min(_SIDE, fused.shape[1]), 8), 255, np.uint8)
    picture = np.concatenate([_stretched(ms, low, high), gap, _stretched(fused, low, high)], 2)
    profile = {"driver": "PNG", "count": 3, "dtype": "uint8", "height": picture.shape[1], "width": picture.shape[2]}
    with rasterio.open(arguments.png, "w", **profile) as target:
        target.write(picture)


def _stretched(image: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.uint8]:
    """The middle of an image, 8 bits."""
    top, left = (max(0, (side - _SIDE) // 2) for side in image.shape[1:])
    part = image[:, top : top + _SIDE, left : left + _SIDE]
    return np.asarray((np.clip((part - low) / (high - low), 0, 1) ** 0.8 * 255).astype(np.uint8))


if __name__ == "__main__":
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    main()
