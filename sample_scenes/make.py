"""Make the sample scenes: draw a landscape, look at it through a sensor, write MS and PAN (and the truth).

python sample_scenes/make.py [--truth] [FOLDER]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from landscape import Landscape, draw
from numpy.typing import NDArray

from clippan_cli.base.geometry import Box, Span
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.sensors import sensors


@dataclass(frozen=True)
class Recipe:
    """One sample scene.

    Args:
        name: Of its folder.
        sensor: Whose MTF and bands.
        bands: Names of the bands.
        ratio: PAN pixels in an MS pixel.
        phase: Centre of MS pixel (0, 0) in PAN pixels.
        size: MS pixels along a side.
        metres: PAN pixel.
        seed: Of the landscape.
        collar: Whether the footprint is turned, with nodata 0 around it.
    """

    name: str
    sensor: str
    bands: tuple[str, ...]
    ratio: int
    phase: float
    size: int
    metres: float
    seed: int
    collar: bool = False


RECIPES = (
    Recipe(
        "town_8band",
        "worldview-2",
        ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2"),
        4, 1.5, 192, 0.5, 7,
    ),
    Recipe("collar_4band", "quickbird", ("blue", "green", "red", "nir"), 4, 1.5, 160, 0.6, 11, collar=True),
    Recipe("landsat_like", "landsat-8", ("blue", "green", "red", "nir", "swir1", "swir2"), 2, 0.0, 200, 1.0, 5),
)  # fmt: skip


def main() -> None:
    """Write all scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--truth", action="store_true", help="write the true HRMS beside each scene")
    arguments = parser.parse_args()
    for recipe in RECIPES:
        make(recipe, arguments.folder / recipe.name, truth=arguments.truth)
        print(arguments.folder / recipe.name)


def make(recipe: Recipe, folder: Path, *, truth: bool = False) -> None:
    """Write ``ms.tif``, ``pan.tif`` and, if wanted, ``truth.tif``."""
    side = recipe.ratio * recipe.size
    hrms, pan, sampling = observe(recipe, draw((side, side), recipe.seed, recipe.metres))
    ms = degrade(hrms, sampling)
    rng = np.random.default_rng(recipe.seed)
    valid = _footprint(side) if recipe.collar else np.ones((side, side), bool)
    ms_valid = valid[:: recipe.ratio, :: recipe.ratio] if recipe.collar else np.ones(ms.shape[1:], bool)
    if recipe.collar:
        valid = np.kron(ms_valid, np.ones((recipe.ratio, recipe.ratio), bool))
    pixel = 15.0 if recipe.sensor.startswith("landsat") else recipe.metres
    place = Affine.translation(500_000, 5_400_000) @ Affine.scale(pixel, -pixel)
    corner = recipe.phase + 0.5 - recipe.ratio / 2
    ms_place = place @ Affine.translation(corner, corner) @ Affine.scale(recipe.ratio)
    folder.mkdir(parents=True, exist_ok=True)
    nodata = 0 if recipe.collar else None
    platform = sensors()[recipe.sensor].title
    _write(folder / "ms.tif", _digital(ms, rng) * ms_valid, ms_place, recipe.bands, nodata, platform)
    _write(folder / "pan.tif", _digital(pan[None], rng) * valid, place, ("pan",), nodata, platform)
    if truth:
        _write(
            folder / "truth.tif", np.rint(hrms * _GAIN).astype(np.uint16) * valid, place, recipe.bands, nodata, platform
        )


def observe(recipe: Recipe, landscape: Landscape) -> tuple[NDArray[np.float64], NDArray[np.float64], Sampling]:
    """The scene at PAN's resolution: bands ``(C, H, W)``, PAN ``(H, W)``, and how MS samples it."""
    sensor = sensors()[recipe.sensor]
    optics = sensor.optics(recipe.bands)
    bands = [
        landscape.reflectance((band.wavelength or 0) - 25, (band.wavelength or 0) + 25, seed)
        for seed, band in enumerate(optics)
    ]
    haze = [0.06 * (480 / (band.wavelength or 480)) ** 3 for band in optics]
    hrms = np.stack([band + path for band, path in zip(bands, haze, strict=True)])
    pan = landscape.reflectance(*sensor.pan_range, seed=99) + 0.03
    sampling = Sampling.uniform(
        (recipe.ratio, recipe.ratio), (recipe.phase, recipe.phase), tuple(band.gain for band in optics), sensor.pan_gain
    )
    return hrms, pan, sampling


def degrade(hrms: NDArray[np.float64], sampling: Sampling) -> NDArray[np.float64]:
    """What the MS sensor sees: ``(C, H, W)`` to ``(C, h, w)``."""
    height, width = hrms.shape[1:]
    small = Box(Span(0, int(height / sampling.ratio[0])), Span(0, int(width / sampling.ratio[1])))
    operators = Operators(sampling, Box(Span(0, height), Span(0, width)), small, dtype=torch.float64)
    return np.asarray(operators.down(torch.from_numpy(hrms)).numpy())


_GAIN = 2400.0


def _digital(reflectance: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
    """11-bit numbers with photon and read noise; 0 is left to nodata."""
    signal = reflectance * _GAIN
    noisy = signal + rng.standard_normal(signal.shape) * np.sqrt(1 + 0.01 * signal)
    return np.clip(np.rint(noisy), 1, 2047).astype(np.uint16)


def _footprint(side: int) -> NDArray[np.bool_]:
    """A turned square."""
    rows, cols = np.mgrid[:side, :side] / side - 0.5
    turned = np.abs(rows * 0.97 + cols * 0.24), np.abs(cols * 0.97 - rows * 0.24)
    return np.asarray((turned[0] < 0.41) & (turned[1] < 0.43))


def _write(
    path: Path,
    pixels: NDArray[np.uint16],
    place: Affine,
    names: tuple[str, ...],
    nodata: int | None,
    platform: str,
) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=pixels.shape[0],
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype="uint16",
        crs="EPSG:32631",
        transform=place,
        nodata=nodata,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        predictor=2,
        zlevel=9,
        photometric="MINISBLACK",
        interleave="band",
    ) as target:
        target.write(pixels)
        target.descriptions = names
        target.update_tags(SENSOR=platform, NOTE="synthetic scene, drawn by sample_scenes/make.py")


if __name__ == "__main__":
    main()
