"""The numbers in words."""

from __future__ import annotations

from typing import Any

from clippan_cli.assessment.indices import LEAST_BLOCKS

NOISE = 0.003
"""HQNR below which a difference between two images of one scene says nothing."""

_FAITHFUL, _PASSABLE, _DRIFTING = 1.0, 2.0, 3.0
"""R-ERGAS in percent: below the first an image gives back MS; below the second too, if no method does much better;
above the third it does not."""

_LEAST_GAIN = 0.01
"""Local correlation with PAN that the classical method must gain on interpolation, or the scene tells nothing."""

_OUTSIDE = 0.001


def verdict(document: dict[str, Any]) -> dict[str, Any]:
    """A headline, and the reasons for it.

    Args:
        document: An assessment without its verdict.

    Returns:
        ``grade`` (``good``, ``fair``, ``poor`` or ``unknown``), ``headline`` and ``reasons``.
    """
    rows = {row["role"]: row for row in document["candidates"]}
    if "result" not in rows:
        return _best_of(document)
    here = {role: row["common"] for role, row in rows.items()}
    ours, exp, best = here["result"], here["interpolation"], here["classical"]
    if any(row[key] is None for row in (ours, exp, best) for key in ("hqnr", "r_ergas", "d_rho")):
        return _unknown(document)
    spectral, spectral_words = _spectral(ours["r_ergas"], best["r_ergas"])
    spatial, spatial_words = _spatial(ours, exp, best)
    grade, headline = min(spectral, spatial), _HEADLINES[spectral, spatial]
    reasons = [spectral_words, spatial_words, _ranked(ours, best, rows["classical"]["name"])]
    if exp["d_rho"] - best["d_rho"] <= _LEAST_GAIN:
        grade, headline = 0, "PAN and MS show no common detail: do they belong together?"
    elif ours["hqnr"] < exp["hqnr"] - NOISE:
        grade = min(grade, 1)
        reasons.append(
            f"But interpolation has a higher HQNR, {exp['hqnr']:.4f}: the details do not stand to PAN as MS does "
            "(an MTF gain or a registration that does not fit, or bands that PAN does not see). Look at the pictures."
        )
    truth = [(rows[role].get("truth") or {}).get("ergas") for role in ("result", "classical", "interpolation")]
    if all(value is not None for value in truth):
        grade, headline, words = _against_truth(*truth)
        reasons.insert(0, words)
    return {"grade": ("poor", "fair", "good")[grade], "headline": headline, "reasons": reasons}


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
"""By how true (2 best) and how sharp."""


def _unknown(document: dict[str, Any]) -> dict[str, Any]:
    blocks = document["blocks"]
    return {
        "grade": "unknown",
        "headline": "Not enough data",
        "reasons": [
            f"{blocks['judged']} blocks of {blocks['side']} × {blocks['side']} px are valid, "
            f"{blocks['skipped']} touch nodata; a number takes {LEAST_BLOCKS} and some common MS pixels."
        ],
    }


def _spectral(error: float, classical: float) -> tuple[int, str]:
    level = 2 if error <= max(_FAITHFUL, min(1.5 * classical, _PASSABLE)) else 1 if error <= _DRIFTING else 0
    return level, (
        f"Seen through the sensor's MTF, it differs from the measured MS by {error:.2f} % (R-ERGAS); "
        f"the best classical method by {classical:.2f} %."
    )


def _spatial(ours: dict[str, Any], exp: dict[str, Any], best: dict[str, Any]) -> tuple[int, str]:
    """How much of the way from interpolation to the classical method its structure has gone."""
    span = exp["d_rho"] - best["d_rho"]
    gone = (exp["d_rho"] - ours["d_rho"]) / max(span, _LEAST_GAIN)
    level = 2 if gone >= 0.8 else 1 if gone >= 0.4 else 0
    return level, (
        f"Its local correlation with PAN is {1 - ours['d_rho']:.3f}; interpolation has {1 - exp['d_rho']:.3f}, "
        f"the best classical method {1 - best['d_rho']:.3f}."
    )


def _against_truth(error: Any, classical: Any, exp: Any) -> tuple[int, str, str]:
    """Grade, headline and reason where there is a truth: it outweighs all else."""
    words = (
        f"Against the truth its ERGAS is {error:.2f} %; that of the best classical method {classical:.2f} %, "
        f"of interpolation {exp:.2f} %."
    )
    if error <= 1.02 * min(classical, exp):
        return 2, "As close to the truth as the best classical method, or closer", words
    if error < exp:
        return 1, "Closer to the truth than interpolation, behind the best classical method", words
    return 0, "Farther from the truth than interpolation", words


def _ranked(ours: dict[str, Any], best: dict[str, Any], name: str) -> str:
    difference = ours["hqnr"] - best["hqnr"]
    text = f"HQNR is {ours['hqnr']:.4f}, that of {name} {best['hqnr']:.4f}"
    if abs(difference) < NOISE:
        return f"{text}: a difference below {NOISE} says nothing."
    return f"{text}: {'above' if difference > 0 else 'below'} it by {abs(difference):.4f}."


def _best_of(document: dict[str, Any]) -> dict[str, Any]:
    """Of compared methods: which suits the scene, by the truth where there is one."""
    key, where = "ergas", "reduced"
    scored = [row for row in document["candidates"] if (row.get(where) or {}).get(key) is not None]
    if not scored:
        where = "truth"
        scored = [row for row in document["candidates"] if (row.get(where) or {}).get(key) is not None]
    if not scored:
        return {"grade": "unknown", "headline": "Not enough data", "reasons": ["Too few pixels are valid."]}
    ordered = sorted(scored, key=lambda row: float(row[where][key]))
    first = ordered[0]
    reasons = [
        f"{'One scale down' if where == 'reduced' else 'Against the truth'}, its ERGAS is {first[where][key]:.3f} %"
        + (f"; {ordered[1]['name']} follows with {ordered[1][where][key]:.3f} %." if len(ordered) > 1 else ".")
    ]
    judged = [row for row in document["candidates"] if (row.get("common") or {}).get("hqnr") is not None]
    if judged:
        sharpest = max(judged, key=lambda row: float(row["common"]["hqnr"]))
        reasons.append(f"At full resolution {sharpest['name']} has the highest HQNR, {sharpest['common']['hqnr']:.4f}.")
    return {"grade": "good", "headline": f"{first['name']} suits this scene best", "reasons": reasons}


def remarks(document: dict[str, Any], extremes: dict[str, int]) -> list[str]:
    """What the user should know of the pixels at the ends of their type."""
    found = []
    for end, words in (("lowest", "the lowest"), ("highest", "the highest")):
        share = extremes[end] / max(extremes["pixels"], 1)
        if share > _OUTSIDE:
            kind = document["inputs"]["hrms"]["dtype"]
            found.append(f"{share:.2%} of the image's pixels hold {words} value of {kind}: clipped")
    return found
