"""Every real scene at hand sharpens without an option, lies on PAN, and gives MS back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from clippan_cli import SharpenOptions, sharpen
from clippan_cli.physics.operators import Operators
from clippan_cli.physics.pixels import Validity
from clippan_cli.scene.pair import open_pair
from clippan_cli.sharpening.record import Record
from tests.conftest import REAL

SCENES = sorted(path.parent for path in REAL.glob("**/pan.tif")) if REAL.is_dir() else []
CHOSEN = [path for path in SCENES if path.parent.name != "l7_fusebox" or path.name in ("01", "13")]


@pytest.mark.skipif(not SCENES, reason=f"no real scenes at hand ({REAL})")
@pytest.mark.parametrize("folder", CHOSEN, ids=lambda path: path.name)
def test_sharpens(folder: Path, tmp_path: Path) -> None:
    ms, pan, out = str(folder / "ms.tif"), str(folder / "pan.tif"), tmp_path / "hrms.tif"
    record = sharpen([ms], pan, out)
    with rasterio.open(out) as made, rasterio.open(pan) as reference, rasterio.open(ms) as coarse:
        assert made.transform == reference.transform
        assert made.crs == reference.crs
        assert (made.height, made.width) == (reference.height, reference.width)
        assert made.dtypes == coarse.dtypes
        assert made.descriptions == coarse.descriptions or not any(coarse.descriptions)
    interpolated = tmp_path / "exp.tif"
    sharpen([ms], pan, interpolated, SharpenOptions(method="exp", consistency=0))
    # On 32 MS pixels a side the edges weigh too much for the usual bound.
    bound = 0.6 if min(coarse.shape) > 32 else 0.7
    assert (inconsistency(out, ms, pan, record) < bound * inconsistency(interpolated, ms, pan, record)).all()


def inconsistency(path: Path, ms: str, pan: str, record: Record) -> NDArray[np.float64]:
    """Mean absolute difference, per band, of MS and the product seen through the sensor's MTF."""
    with rasterio.open(path) as made:
        fused = torch.from_numpy(made.read().astype("float64"))
        valid = torch.from_numpy(made.dataset_mask() > 0) & torch.isfinite(fused).all(0)
    assert bool(valid.any())
    with open_pair([ms], pan) as pair:
        pixels, ms_valid = pair.ms.read(pair.ms.grid.box)
        phases = tuple((row, col) for row, col in record.geometry.phases_used)
        sampling = replace(pair.sampling, phases=phases, gains=tuple(record.optics.used))
        operators = Operators(sampling, pair.pan.grid.box, pair.ms.grid.box, dtype=torch.float64)
    seen = operators.down(torch.where(valid, fused, 0), Validity(valid[None]))
    known = operators.covered & (operators.weight(valid[None]) > 0.99).all(0)
    if ms_valid is not None:
        known &= torch.from_numpy(ms_valid).all(0)
    error: NDArray[np.float64] = (seen - torch.from_numpy(pixels))[:, known].abs().mean(1).numpy()
    return error
