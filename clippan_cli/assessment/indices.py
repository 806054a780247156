"""From sums to indices: their names, what they mean, and when there are too few data for a number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from clippan_cli.assessment.tally import Sums
from clippan_cli.metrics.reference import ergas_from, mpsnr_from

LEAST_BLOCKS = 4
"""The number of blocks below which a mean over blocks is no answer."""

_LEAST_PIXELS = 256


@dataclass(frozen=True)
class Index:
    """Says what an index is.

    Args:
        key: Its name in JSON.
        symbol: Its name in the field.
        rising: Whether more is better.
        unit: The unit that follows the number.
        words: The line that says what it measures.
        brief: Whether the table on the terminal shows it.
    """

    key: str
    symbol: str
    rising: bool
    unit: str
    words: str
    brief: bool = field(default=True, kw_only=True)


FULL = (
    Index("hqnr", "HQNR", True, "", "(1 − D_λᴷ a)(1 − D_s): the field's one number with no truth"),
    Index("d_lambda_k", "D_λᴷ (a)", False, "", "spectral: 1 − Q2n of the image seen through the MTF, at PAN's size"),
    Index("d_lambda_k_b", "D_λᴷ (b)", False, "", "the same, decimated to MS's scale (Vivone 2021)"),
    Index("d_s", "D_s", False, "", "spatial: change of each band's quality with PAN"),
    Index("d_rho", "D_ρ", False, "", "spatial: 1 − local correlation with PAN"),
    Index("r_ergas", "R-ERGAS", False, " %", "error of the image seen through the MTF against the measured MS"),
    Index("r_sam", "R-SAM", False, "°", "spectral angle of the same"),
    Index("r_q2n", "R-Q2n", True, "", "hypercomplex quality of the same"),
    Index("hqnr_b", "HQNR (b)", True, "", "HQNR with D_λᴷ (b)", brief=False),
    Index("d_lambda", "D_λ", False, "", "spectral: change of the qualities between bands; 0 for interpolation"),
    Index("qnr", "QNR", True, "", "(1 − D_λ)(1 − D_s); rewards doing nothing: read it beside EXP's"),
)
TRUTH = (
    Index("ergas", "ERGAS", False, " %", "relative error against the truth"),
    Index("sam", "SAM", False, "°", "spectral angle to the truth"),
    Index("q2n", "Q2n", True, "", "hypercomplex quality against the truth"),
    Index("scc", "SCC", True, "", "correlation of gradients with the truth's"),
    Index("mpsnr", "MPSNR", True, " dB", "peak signal-to-noise ratio, mean over bands"),
    Index("ssim", "SSIM", True, "", "structural similarity to the truth"),
)
CATALOGUE = {index.key: index for index in (*FULL, *TRUTH)}

Value = float | None
"""The value of an index; None where there are too few data."""

Indices = dict[str, Value]
"""The values by the keys of indices."""

BandIndices = dict[str, list[Value]]
"""The values band by band, by the keys of those indices that have them."""


def full_indices(sums: Sums, ratio: float) -> tuple[Indices, BandIndices]:
    """Compute the indices that need no truth.

    Args:
        sums: The sums of one candidate.
        ratio: The PAN pixels along an MS pixel.

    Returns:
        The indices by key, None where there are too few data; and by key those that exist band by band.
    """
    values: Indices = {index.key: None for index in FULL}
    by_band: BandIndices = {}
    if sums.count("blocks") >= LEAST_BLOCKS:
        count = sums.count("blocks")
        spatial = np.abs(sums["with_pan"] - sums["with_pan_ms"]) / count
        values["d_s"], by_band["d_s"] = float(spatial.mean()), spatial.tolist()
        if "between" in sums.values:
            spectral = np.abs(sums["between"] - sums["between_ms"]) / count
            values["d_lambda"] = float(spectral.mean())
            by_band["d_lambda"] = _of_each_band(spectral, len(spatial))
        values["d_lambda_k"] = 1 - float(sums["consistent"][0]) / count
    if sums.count("low_blocks") >= LEAST_BLOCKS:
        quality = float(sums["low_quality"][0]) / sums.count("low_blocks")
        values["r_q2n"], values["d_lambda_k_b"] = quality, 1 - quality
    if sums.count("rho_pixels") >= _LEAST_PIXELS:
        rho = 1 - sums["rho"] / sums.count("rho_pixels")
        values["d_rho"], by_band["d_rho"] = float(rho.mean()), rho.tolist()
    if sums.count("low_pixels") >= _LEAST_PIXELS:
        values["r_ergas"], by_band["r_ergas"] = _ergas(sums, "low", ratio)
        values["r_sam"] = _angle(sums, "low")
    values["qnr"] = _product(values["d_lambda"], values["d_s"])
    values["hqnr"] = _product(values["d_lambda_k"], values["d_s"])
    values["hqnr_b"] = _product(values["d_lambda_k_b"], values["d_s"])
    return {key: _finite(value) for key, value in values.items()}, _finite_bands(by_band)


def truth_indices(sums: Sums, ratio: float, peak: float) -> tuple[Indices, BandIndices]:
    """Compute the indices that need a truth.

    Args:
        sums: The sums of one candidate.
        ratio: The PAN pixels along an MS pixel.
        peak: The highest value that a pixel can have, in the unit of the sums.
    """
    values: Indices = {index.key: None for index in TRUTH}
    by_band: BandIndices = {}
    if sums.count("truth_pixels") >= _LEAST_PIXELS:
        values["ergas"], by_band["ergas"] = _ergas(sums, "truth", ratio)
        values["sam"] = _angle(sums, "truth")
        error = torch.from_numpy(sums["truth_error"] / sums.count("truth_pixels"))
        values["mpsnr"] = float(mpsnr_from(error, peak))
        by_band["mpsnr"] = [float(mpsnr_from(each[None], peak)) for each in error]
        both, ours, theirs = (sums[f"sobel_{name}"] for name in ("both", "ours", "theirs"))
        values["scc"] = _ratio(both.sum(), math.sqrt(ours.sum() * theirs.sum()))
        by_band["scc"] = [_ratio(b, math.sqrt(o * t)) for b, o, t in zip(both, ours, theirs, strict=True)]
    if sums.count("truth_blocks") >= LEAST_BLOCKS:
        values["q2n"] = float(sums["truth_quality"][0]) / sums.count("truth_blocks")
    if sums.count("ssim_pixels") >= _LEAST_PIXELS:
        similarity = sums["ssim"] / sums.count("ssim_pixels")
        values["ssim"], by_band["ssim"] = float(similarity.mean()), similarity.tolist()
    return {key: _finite(value) for key, value in values.items()}, _finite_bands(by_band)


def _of_each_band(spectral: NDArray[np.float64], bands: int) -> list[Value]:
    """Return the mean over the pairs that a band belongs to."""
    pairs = list(combinations(range(bands), 2))
    return [
        float(np.mean([value for pair, value in zip(pairs, spectral, strict=True) if k in pair])) for k in range(bands)
    ]


def _ergas(sums: Sums, name: str, ratio: float) -> tuple[Value, list[Value]]:
    """Return ERGAS of all bands but dead ones, whose mean is 0, and of each band."""
    count = sums.count(f"{name}_pixels")
    error = torch.from_numpy(sums[f"{name}_error"] / count)
    mean = torch.from_numpy(sums[f"{name}_total"] / count)
    alive = mean != 0
    each = [float(ergas_from(e[None], m[None], ratio)) for e, m in zip(error, mean, strict=True)]
    return float(ergas_from(error[alive], mean[alive], ratio)), list(each)


def _angle(sums: Sums, name: str) -> Value:
    """Return the mean angle; None for a single band, whose spectra have none."""
    pixels = sums.count(f"{name}_angles")
    if pixels < _LEAST_PIXELS or len(sums[f"{name}_error"]) < 2:
        return None
    return float(sums[f"{name}_angle"][0]) / pixels


def _product(spectral: Value, spatial: Value) -> Value:
    return None if spectral is None or spatial is None else (1 - spectral) * (1 - spatial)


def _ratio(over: float, under: float) -> Value:
    return float(over / under) if under > 0 else None


def _finite(value: Value) -> Value:
    return value if value is not None and math.isfinite(value) else None


def _finite_bands(by_band: BandIndices) -> BandIndices:
    return {key: [_finite(value) for value in values] for key, values in by_band.items()}
