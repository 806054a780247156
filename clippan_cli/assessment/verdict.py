"""The numbers in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clippan_cli.assessment.indices import LEAST_BLOCKS, Indices
from clippan_cli.assessment.record import (
    BlocksRecord,
    CandidateRecord,
    ExtremesRecord,
    Grade,
    VerdictRecord,
)

NOISE = 0.003
"""The HQNR below which a difference between two images of one scene says nothing."""

_FAITHFUL, _PASSABLE, _DRIFTING = 1.0, 2.0, 3.0
"""The bounds of R-ERGAS in percent: below the first an image gives back MS; below the second too, if no method does
much better; above the third it does not."""

_LEAST_GAIN = 0.01
"""The local correlation with PAN that the classical method must gain on interpolation, or the scene tells nothing."""

_OUTSIDE = 0.001


@dataclass(frozen=True)
class _Seen:
    """Holds the indices that need no truth and make the verdict."""

    hqnr: float
    r_ergas: float
    d_rho: float


def verdict(candidates: Sequence[CandidateRecord], blocks: BlocksRecord | None) -> VerdictRecord:
    """Judge the numbers.

    Args:
        candidates: The candidates that were judged.
        blocks: The blocks at full resolution; None where only one scale down was judged.

    Returns:
        The headline, and the reasons for it.
    """
    rows = {row.role: row for row in candidates}
    if "result" not in rows:
        return _best_of(candidates)
    here = {role: _seen(row.common or {}) for role, row in rows.items()}
    ours, exp, best = here["result"], here["interpolation"], here["classical"]
    if ours is None or exp is None or best is None:
        return _unknown(blocks)
    found = _of_an_image(ours, exp, best, rows["classical"].name)
    truth = _known(((row.role, row.truth) for row in candidates), "ergas")
    return found if len(truth) < len(rows) else _against_truth(truth, found.reasons)


def _seen(values: Indices) -> _Seen | None:
    """Return what makes the verdict; None where there are too few data for any of it."""
    hqnr, r_ergas, d_rho = (values.get(key) for key in ("hqnr", "r_ergas", "d_rho"))
    return None if hqnr is None or r_ergas is None or d_rho is None else _Seen(hqnr, r_ergas, d_rho)


def _of_an_image(ours: _Seen, exp: _Seen, best: _Seen, classical: str) -> VerdictRecord:
    """Judge an image beside interpolation and the best classical method, which is called ``classical``."""
    spectral, spectral_words = _spectral(ours.r_ergas, best.r_ergas)
    spatial, spatial_words = _spatial(ours, exp, best)
    level, headline = min(spectral, spatial), _HEADLINES[spectral, spatial]
    reasons = [spectral_words, spatial_words, _ranked(ours, best, classical)]
    if exp.d_rho - best.d_rho <= _LEAST_GAIN:
        level, headline = 0, "PAN and MS show no common detail: do they belong together?"
    elif ours.hqnr < exp.hqnr - NOISE:
        level = min(level, 1)
        reasons.append(
            f"But interpolation has a higher HQNR, {exp.hqnr:.4f}: the details do not stand to PAN as MS does "
            "(an MTF gain or a registration that does not fit, or bands that PAN does not see). Look at the pictures."
        )
    return VerdictRecord(grade=_GRADES[level], headline=headline, reasons=tuple(reasons))


_GRADES: tuple[Grade, ...] = ("poor", "fair", "good")

_HEADLINES = {
    (2, 2): "Sharp, and true to the measured MS",
    (2, 1): "True to the measured MS, and somewhat less sharp than it could be",
    (2, 0): "True to the measured MS, but hardly sharper than interpolation",
    (1, 2): "Sharp, with a slight drift from the measured MS",
    (1, 1): "Somewhat soft, with a slight drift from the measured MS",
    (1, 0): "Hardly sharper than interpolation, with a slight drift from the measured MS",
    (0, 2): "Sharp, but no longer the measured MS",
    (0, 1): "Drifted from the measured MS",
    (0, 0): "Neither sharp nor true to the measured MS",
}
"""The headlines by how true (2 best) and how sharp an image is."""


def _unknown(blocks: BlocksRecord | None) -> VerdictRecord:
    assert blocks is not None  # an image is judged at full resolution
    reason = (
        f"{blocks.judged} blocks of {blocks.side} × {blocks.side} px are valid, "
        f"{blocks.skipped} touch nodata; a number takes {LEAST_BLOCKS} and some common MS pixels."
    )
    return VerdictRecord(grade="unknown", headline="Not enough data", reasons=(reason,))


def _spectral(error: float, classical: float) -> tuple[int, str]:
    level = 2 if error <= max(_FAITHFUL, min(1.5 * classical, _PASSABLE)) else 1 if error <= _DRIFTING else 0
    return level, (
        f"Seen through the sensor's MTF, it differs from the measured MS by {error:.2f} % (R-ERGAS); "
        f"the best classical method by {classical:.2f} %."
    )


def _spatial(ours: _Seen, exp: _Seen, best: _Seen) -> tuple[int, str]:
    """Say how much of the way from interpolation to the classical method its structure has gone."""
    span = exp.d_rho - best.d_rho
    gone = (exp.d_rho - ours.d_rho) / max(span, _LEAST_GAIN)
    level = 2 if gone >= 0.8 else 1 if gone >= 0.4 else 0
    return level, (
        f"Its local correlation with PAN is {1 - ours.d_rho:.3f}; interpolation has {1 - exp.d_rho:.3f}, "
        f"the best classical method {1 - best.d_rho:.3f}."
    )


def _against_truth(ergas: Mapping[str, float], others: Sequence[str]) -> VerdictRecord:
    """Judge by the truth, which outweighs all else.

    Args:
        ergas: The error of each role.
        others: The reasons beside it.
    """
    error, classical, exp = ergas["result"], ergas["classical"], ergas["interpolation"]
    level, headline = 0, "Farther from the truth than interpolation"
    if error <= 1.02 * min(classical, exp):
        level, headline = 2, "As close to the truth as the best classical method, or closer"
    elif error < exp:
        level, headline = 1, "Closer to the truth than interpolation, behind the best classical method"
    reason = (
        f"Against the truth its ERGAS is {error:.2f} %; that of the best classical method {classical:.2f} %, "
        f"of interpolation {exp:.2f} %."
    )
    return VerdictRecord(grade=_GRADES[level], headline=headline, reasons=(reason, *others))


def _ranked(ours: _Seen, best: _Seen, name: str) -> str:
    difference = ours.hqnr - best.hqnr
    text = f"HQNR is {ours.hqnr:.4f}, that of {name} {best.hqnr:.4f}"
    if abs(difference) < NOISE:
        return f"{text}: a difference below {NOISE} says nothing."
    return f"{text}: {'above' if difference > 0 else 'below'} it by {abs(difference):.4f}."


def _best_of(candidates: Sequence[CandidateRecord]) -> VerdictRecord:
    """Say which of the compared methods suits the scene, by the truth where there is one."""
    reduced = _known(((row.name, row.reduced) for row in candidates), "ergas")
    errors = reduced or _known(((row.name, row.truth) for row in candidates), "ergas")
    if not errors:
        return VerdictRecord(grade="unknown", headline="Not enough data", reasons=("Too few pixels are valid.",))
    first, *others = sorted(errors, key=lambda name: errors[name])
    follows = f"; {others[0]} follows with {errors[others[0]]:.3f} %." if others else "."
    where = "One scale down" if reduced else "Against the truth"
    reasons = [f"{where}, its ERGAS is {errors[first]:.3f} %{follows}"]
    quality = _known(((row.name, row.common) for row in candidates), "hqnr")
    if quality:
        sharpest = max(quality, key=lambda name: quality[name])
        reasons.append(f"At full resolution {sharpest} has the highest HQNR, {quality[sharpest]:.4f}.")
    return VerdictRecord(grade="good", headline=f"{first} suits this scene best", reasons=tuple(reasons))


def _known(parts: Iterable[tuple[str, Indices | None]], key: str) -> dict[str, float]:
    """Return one index of those candidates that have it.

    Args:
        parts: The names of candidates, and their indices in one part of the assessment.
        key: The index.
    """
    values = ((name, (indices or {}).get(key)) for name, indices in parts)
    return {name: value for name, value in values if value is not None}


def remarks(extremes: ExtremesRecord, dtype: str) -> list[str]:
    """Say what the user should know of the image's pixels at the ends of their type.

    Args:
        extremes: The counts of those pixels.
        dtype: The pixel type.
    """
    return [
        f"{share:.2%} of the image's pixels hold the {end} value of {dtype}: clipped"
        for end, count in (("lowest", extremes.lowest), ("highest", extremes.highest))
        if (share := count / max(extremes.pixels, 1)) > _OUTSIDE
    ]
