"""GDAL's own weighted Brovey, through a virtual pansharpened dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rasterio
import torch
import torch.nn.functional as F
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from torch import Tensor

from clippan_cli.fusion.method import Classical, Fitted, Method, Statistics, Tile
from clippan_cli.physics.sampling import Sampling

_VRT = """<VRTDataset subClass="VRTPansharpenedDataset">
  <PansharpeningOptions>
    <Algorithm>WeightedBrovey</Algorithm>
    <Resampling>Cubic</Resampling>
    <NumThreads>1</NumThreads>
    <SpatialExtentAdjustment>None</SpatialExtentAdjustment>
    <PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>
    {bands}
  </PansharpeningOptions>
</VRTDataset>"""
_AWAY = 2.0**22
_MARGIN = 4
_BAND = '<SpectralBand dstBand="{0}"><SourceFilename>{1}</SourceFilename><SourceBand>{0}</SourceBand></SpectralBand>'


class GdalBrovey(Method):
    """Runs ``gdal_pansharpen`` with its default weights: every band times PAN over the mean of the bands."""

    name = "gdal-brovey"

    def fit(self, statistics: Statistics) -> Fitted:
        """Fit nothing, for GDAL matches nothing."""
        return _GdalBrovey(sampling=statistics.sampling)

    def halo(self, sampling: Sampling) -> int:
        """Add up GDAL's cubic, and whole MS pixels around the tile."""
        return sampling.up_reach + int(2 * max(sampling.ratio))


@dataclass(frozen=True, kw_only=True)
class _GdalBrovey(Classical):
    sampling: Sampling

    def fuse(self, tile: Tile) -> Tensor:
        operators = tile.operators
        ratio, centre = self.sampling.ratio, self.sampling.centre
        # MS is continued by a few pixels, so that it covers PAN at the edge of a scene too.
        first = [operators.ms_box[axis].start - _MARGIN for axis in (0, 1)]
        corner = [centre[axis] + ratio[axis] * (first[axis] - 0.5) + 0.5 for axis in (0, 1)]
        ms_place = Affine.translation(corner[1], corner[0]) @ Affine.scale(ratio[1], ratio[0])
        pan_place = Affine.translation(operators.pan_box.cols.start, operators.pan_box.rows.start)
        padded = F.pad(tile.ms.values[None].float(), (_MARGIN,) * 4, mode="replicate")[0]
        ms, pan = padded.cpu().numpy(), tile.pan.values.float().cpu().numpy()[None]
        with MemoryFile() as ms_file, MemoryFile() as pan_file:
            _store(ms_file, ms, ms_place)
            _store(pan_file, pan, pan_place)
            bands = "".join(_BAND.format(k + 1, ms_file.name) for k in range(len(ms)))
            with rasterio.open(_VRT.format(pan=pan_file.name, bands=bands)) as fused:
                pixels = fused.read(out_dtype="float32")
        return torch.from_numpy(pixels).to(tile.ms.values)


def _store(file: MemoryFile, pixels: NDArray[np.float32], place: Affine) -> None:
    count, height, width = pixels.shape
    # North-up, as GDAL's pansharpening wants it, and away from the origin: it takes a change of sign for a flip.
    north_up = Affine.translation(_AWAY, _AWAY) @ Affine.scale(1, -1) @ place
    with file.open(
        driver="GTiff", count=count, height=height, width=width, dtype="float32", transform=north_up
    ) as target:
        target.write(pixels)
