"""A picture of a result: MS as delivered beside the sharpened image, in one stretch.

python sample_scenes/picture.py SCENE HRMS PNG [--side PIXELS]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("hrms", type=Path)
    parser.add_argument("png", type=Path)
    parser.add_argument("--side", type=int, default=512, help="PAN pixels a side of each half")
    arguments = parser.parse_args()
    with rasterio.open(arguments.hrms) as source:
        names = [name or "" for name in source.descriptions]
        bands = [names.index(name) + 1 if name in names else k for k, name in ((3, "red"), (2, "green"), (1, "blue"))]
        fused = source.read(bands)
    with rasterio.open(arguments.scene / "ms.tif") as source:
        ms = source.read(bands, out_shape=fused.shape, resampling=Resampling.nearest)
    low, high = np.percentile(ms, (1, 99), axis=(1, 2), keepdims=True)
    halves = [_stretched(image, low, high, arguments.side) for image in (ms, fused)]
    gap = np.full((3, halves[0].shape[1], 8), 255, np.uint8)
    picture = np.concatenate([halves[0], gap, halves[1]], 2)
    profile = {"driver": "PNG", "count": 3, "dtype": "uint8", "height": picture.shape[1], "width": picture.shape[2]}
    with rasterio.open(arguments.png, "w", **profile) as target:
        target.write(picture)


def _stretched(image: NDArray[Any], low: NDArray[Any], high: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """Cut out the middle of an image and stretch it to 8 bits."""
    top, left = (max(0, (size - side) // 2) for size in image.shape[1:])
    part = image[:, top : top + side, left : left + side]
    return np.asarray((np.clip((part - low) / (high - low), 0, 1) ** 0.8 * 255).astype(np.uint8))


if __name__ == "__main__":
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    main()
