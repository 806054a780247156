"""The pictures of a report: crops at full zoom, heat maps, histograms."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.image import imsave
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from clippan_cli.assessment.candidate import Candidate
from clippan_cli.assessment.judge import Histograms, Judge
from clippan_cli.assessment.lattice import Lattice
from clippan_cli.assessment.tally import Maps
from clippan_cli.base.geometry import Box, Span
from clippan_cli.metrics.blocks import BLOCK
from clippan_cli.physics.pixels import Pixels, Window
from clippan_cli.physics.sampling import Sampling
from clippan_cli.scene.pair import Pair

CROP = 8
"""The number of blocks along a crop."""

_VISIBLE = (650.0, 550.0, 470.0)
_COLOURS = ("red", "green", "blue")
_PERCENTILES = (0.02, 0.98)
_HEAT = "magma"


@dataclass(frozen=True)
class Stretch:
    """Stretches DN to 0…1; one serves all pictures.

    Args:
        low: The DN of each shown band that becomes 0.
        high: The DN of each shown band that becomes 1.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Turn ``(B, H, W)`` in DN into RGBA ``(H, W, 4)``, transparent where NaN."""
        spread = np.maximum(self.high - self.low, 1e-12)[:, None, None]
        scaled = np.clip((pixels - self.low[:, None, None]) / spread, 0, 1)
        seen = np.isfinite(scaled).all(0)
        planes = np.where(seen, scaled, 0)
        rgb = np.broadcast_to(planes, (3, *planes.shape[1:])) if len(planes) == 1 else planes
        rgba = np.concatenate([rgb, np.asarray(seen)[None]]) * 255
        return np.asarray(np.rint(rgba), np.uint8).transpose(1, 2, 0)


def visible_bands(pair: Pair, bands: Sequence[int]) -> list[int]:
    """Say which of the judged bands show red, green and blue, as positions in ``bands``; one for a grey picture.

    They are found by colour interpretation, else by wavelength, else by custom: red is the third of four and more, the
    fifth of eight.
    """
    if len(bands) < 3:
        return [0]
    stated = [pair.ms.bands[k].colour.name for k in bands]
    if all(colour in stated for colour in _COLOURS):
        return [stated.index(colour) for colour in _COLOURS]
    optics = pair.sensor.optics([band.name for band in pair.ms.bands])
    lengths = [optics[k].wavelength for k in bands]
    known = [(length, at) for at, length in enumerate(lengths) if length is not None]
    if len(known) >= 3:
        return [min(known, key=lambda item: abs(item[0] - wanted))[1] for wanted in _VISIBLE]
    return [0, 1, 2] if len(bands) == 3 else [4, 2, 1] if len(bands) >= 8 else [2, 1, 0]


def stretch_of(planes: Sequence[NDArray[Any]]) -> Stretch:
    """Return the stretch from the 2nd to the 98th percentile of each plane's valid pixels."""
    edges = [np.quantile(plane, _PERCENTILES) if plane.size else np.array([0.0, 1.0]) for plane in planes]
    low, high = np.array(edges, np.float64).T
    return Stretch(low, high)


def sample_stretches(samples: tuple[Window, ...], scale: float, bands: Sequence[int]) -> tuple[Stretch, Stretch]:
    """Return the stretch of MS, which all coloured pictures share, and that of PAN."""
    ms = [torch.cat([sample.ms.known(band) for sample in samples]).numpy() * scale for band in bands]
    pan = torch.cat([sample.pan.known() for sample in samples]).numpy() * scale
    return stretch_of(ms), stretch_of([pan])


def places(maps: Maps, lattice: Lattice) -> list[tuple[str, Box, float]]:
    """Find where the image is best, typical and worst, by local HQNR: name, window on PAN's grid, score."""
    score = maps["consistent"] * (1 - maps["d_s"])
    rows, cols = (min(CROP, side) for side in score.shape)
    known = np.isfinite(score)
    mean = uniform_filter(np.where(known, score, 0.0).astype(np.float64), (rows, cols), mode="constant")
    share = uniform_filter(known.astype(np.float64), (rows, cols), mode="constant")
    inner = (
        slice(rows // 2, score.shape[0] - (rows - 1) // 2),
        slice(cols // 2, score.shape[1] - (cols - 1) // 2),
    )
    mean, share = mean[inner], share[inner]
    whole = share >= max(0.5, share.max() - 1e-6) if share.max() > 0 else share > 1
    if not whole.any():
        return []
    values = np.where(whole, mean / np.maximum(share, 1e-9), np.nan)
    middle = np.nanmedian(values)
    found = (
        ("best", np.nanargmax(values)),
        ("typical", np.nanargmin(np.abs(values - middle))),
        ("worst", np.nanargmin(values)),
    )
    out: list[tuple[str, Box, float]] = []
    for name, at in found:
        row, col = divmod(int(at), values.shape[1])
        box = Box(
            *(
                Span(o.start + BLOCK * i, o.start + BLOCK * (i + n))
                for o, i, n in zip(lattice.area, (row, col), (rows, cols), strict=True)
            )
        )
        if all(box != other for _, other, _ in out):
            out.append((name, box, float(values[row, col])))
    return out


def crops(
    judge: Judge,
    candidates: Sequence[Candidate],
    box: Box,
    *,
    sampling: Sampling,
    bands: Sequence[int],
    ms_bands: Sequence[int],
    stretches: tuple[Stretch, Stretch],
) -> list[tuple[str, str]]:
    """Draw MS as delivered, PAN, then every candidate in one window: names and pictures as data URIs.

    Args:
        judge: The judge, who renders the candidates.
        candidates: The candidates that are shown.
        box: The window on PAN's grid.
        sampling: The place of MS on PAN.
        bands: The candidates' bands that are shown.
        ms_bands: The same bands, as bands of MS.
        stretches: The stretches of MS and of PAN.
    """
    read, images = judge.window(box, candidates)
    rows, cols = (
        (sampling.nearest(axis, box[axis]) - read.ms_box[axis].start).clip(0, read.ms_box[axis].size - 1)
        for axis in (0, 1)
    )
    ms = _gaps(read.ms)[list(ms_bands)][:, rows][:, :, cols]
    pan = box.cut(_gaps(read.pan)[None], read.pan_box)
    panels = [("MS as delivered", stretches[0](ms)), ("PAN", stretches[1](pan))]
    panels += [(name, stretches[0](image[list(bands)].numpy())) for name, image in images.items()]
    return [(name, as_uri(picture)) for name, picture in panels]


def _gaps(x: Pixels) -> NDArray[np.float32]:
    filled: NDArray[np.float32] = x.valid.keep(x.values, float("nan")).numpy()
    return filled


def heat(values: NDArray[np.float32]) -> tuple[str, float]:
    """Draw a map, transparent where nothing was judged; and return the value of the brightest colour."""
    known = values[np.isfinite(values)]
    top = max(float(np.quantile(known, 0.98)), 1e-6) if known.size else 1.0
    rgba = colormaps[_HEAT](np.clip(np.nan_to_num(values) / top, 0, 1), bytes=True)
    rgba[..., 3] = np.where(np.isfinite(values), 255, 0)
    return as_uri(rgba), top


def heat_scale() -> str:
    """Return the colours of :func:`heat`, dark to bright, as a CSS gradient."""
    stops = [colormaps[_HEAT](value, bytes=True)[:3] for value in np.linspace(0, 1, 9)]
    return "linear-gradient(to right," + ",".join(f"rgb({r},{g},{b})" for r, g, b in stops) + ")"


@dataclass(frozen=True)
class Outline:
    """Holds the histograms of a band as SVG paths, scaled alike.

    Args:
        low: The lowest DN.
        high: The highest DN.
        ms: The path of MS.
        fused: The path of the image.
    """

    low: float
    high: float
    ms: str
    fused: str


def outlines(histograms: Histograms, width: int, height: int) -> tuple[Outline, ...]:
    """Draw the histograms of each band."""
    out = []
    for (low, high), ms, fused in zip(histograms.edges, histograms.ms, histograms.fused, strict=True):
        shares = [counts / max(counts.sum(), 1) for counts in (ms, fused)]
        top = max(share.max() for share in shares) or 1.0
        paths = []
        for share in shares:
            x = np.linspace(0, width, len(share))
            y = height - share / top * (height - 2)
            paths.append(" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)))
        out.append(Outline(low, high, *paths))
    return tuple(out)


def as_uri(picture: NDArray[np.uint8]) -> str:
    """Write a picture ``(H, W, 4)`` as a PNG inside the page."""
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(picture), format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
