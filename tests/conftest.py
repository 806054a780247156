"""Scenes made on the spot, with a known truth, and the real ones where they are at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import settings
from numpy.typing import NDArray
from scipy import ndimage

from clippan_cli.base.geometry import Box, Span
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.sampling import Sampling

# A loaded machine is no fault of the code, and a fault must show up in every run.
settings.register_profile("clippan", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("clippan")

REAL = Path(__file__).parents[2] / "shared" / "scenes"

for name in [key for key in os.environ if key.startswith("CLIPPAN_")] + ["NO_COLOR", "FORCE_COLOR"]:
    os.environ.pop(name, None)


@pytest.fixture
def real_scene() -> Callable[[str], Path]:
    """The folder of a real scene; the test is skipped where there are none."""

    def find(name: str) -> Path:
        if not (REAL / name).is_dir():
            pytest.skip(f"real scene {name} is not at hand ({REAL})")
        return REAL / name

    return find


def box(height: int, width: int) -> Box:
    """A whole image."""
    return Box(Span(0, height), Span(0, width))


def texture(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Patches with sharp edges over smooth ground, 0 to 1."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 6, mode="wrap")
    patches = ndimage.gaussian_filter(rng.standard_normal(shape), 3, mode="wrap") > 0.05
    fine = ndimage.gaussian_filter(rng.standard_normal(shape), 0.8, mode="wrap")
    mixed = smooth / smooth.std() + 2.0 * patches + 0.3 * fine / fine.std()
    return np.asarray((mixed - mixed.min()) / np.ptp(mixed))


def bands(shape: tuple[int, int], count: int, seed: int = 0) -> NDArray[np.float64]:
    """Bands that share most of their texture: ``(C, H, W)``, about 0.1 to 0.9."""
    common = texture(shape, seed)
    own = [texture(shape, seed + 1 + k) for k in range(count)]
    return np.stack([0.1 + (0.55 + 0.1 * k / count) * common + 0.15 * own[k] for k in range(count)])


@dataclass
class Made:
    """A scene on disk and what is known of it."""

    ms: str
    pan: str
    truth: NDArray[np.float64]
    sampling: Sampling
    folder: Path

    @property
    def out(self) -> str:
        """Where the result goes."""
        return str(self.folder / "hrms.tif")


def write(path: Path, pixels: NDArray[Any], transform: Affine, **more: Any) -> str:
    """Write a raster; ``mask``, ``names``, ``tags`` and ``crs`` are optional."""
    mask, names, tags = more.pop("mask", None), more.pop("names", None), more.pop("tags", {})
    profile = {"driver": "GTiff", "crs": "EPSG:32631", "photometric": "MINISBLACK", **more}
    if profile["driver"] != "GTiff":
        profile.pop("photometric")
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            count=len(pixels),
            height=pixels.shape[1],
            width=pixels.shape[2],
            dtype=pixels.dtype,
            transform=transform,
            **profile,
        ) as target,
    ):
        target.write(pixels)
        target.update_tags(**tags)
        if names:
            target.descriptions = names
        if mask is not None:
            target.write_mask(mask)
    return str(path)


PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Made]:
    """Draws, degrades and writes a scene."""

    def make(
        *,
        count: int = 4,
        ratio: float = 4,
        phase: float | None = None,
        size: int = 64,
        dtype: str = "uint16",
        peak: float = 1000,
        gain: float = 0.3,
        slip: tuple[float, float] = (0.0, 0.0),
        valid: NDArray[np.bool_] | None = None,
        seed: int = 0,
        **more: Any,
    ) -> Made:
        at = (ratio - 1) / 2 if phase is None else phase
        side = round(size * ratio)
        truth = bands((side, side), count, seed)
        stated = Sampling.uniform((ratio, ratio), (at, at), (gain,) * count)
        true = stated.shifted((slip,) * count)
        operators = Operators(true, box(side, side), box(size, size), dtype=torch.float64)
        ms = operators.down(torch.from_numpy(truth)).numpy()
        pan = truth.mean(0, keepdims=True)
        corner = at + 0.5 - ratio / 2
        ms_place = PLACE @ Affine.translation(corner, corner) @ Affine.scale(ratio)
        nodata = more.pop("nodata", None)

        def digital(x: NDArray[np.float64], good: NDArray[np.bool_] | None) -> NDArray[Any]:
            scaled = x * peak
            values = np.rint(scaled) if np.issubdtype(np.dtype(dtype), np.integer) else scaled
            if good is not None:
                values = np.where(good, values, 0 if nodata is None else nodata)
            return np.asarray(values.astype(dtype))

        fine = None if valid is None else np.kron(valid, np.ones((round(ratio),) * 2, bool))
        names = tuple(f"band {k + 1}" for k in range(count))
        return Made(
            write(tmp_path / "ms.tif", digital(ms, valid), ms_place, nodata=nodata, names=names, **more),
            write(tmp_path / "pan.tif", digital(pan, fine), PLACE, nodata=nodata, **more),
            truth * peak,
            stated,
            tmp_path,
        )

    return make


def read(path: str) -> NDArray[Any]:
    """All pixels."""
    with rasterio.open(path) as source:
        return np.asarray(source.read())


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration of a CLIP that is small enough for tests; its weights are made by a seed."""
    path = tmp_path_factory.mktemp("clip") / "tiny.json"
    vision = {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 32, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}))
    return str(path)
