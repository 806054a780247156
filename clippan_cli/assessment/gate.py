"""A gate: an image that is not good enough fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clippan_cli.assessment.options import AssessOptions, GateOptions
from clippan_cli.base.options import stated
from clippan_cli.errors import QualityError, UsageError

if TYPE_CHECKING:
    from clippan_cli.assessment.record import Assessment


def check_gate(gate: GateOptions, options: AssessOptions) -> None:
    """Refuse a gate that has nothing to judge.

    Raises:
        UsageError: There is no image, or no truth.
    """
    if options.methods and any(limit is not None for limit in stated(gate).values()):
        raise UsageError(
            "a gate judges one image, not methods", "give an image: clippan assess hrms.tif ms.tif pan.tif"
        )
    if gate.max_ergas is not None and options.reference is None:
        raise UsageError("`max_ergas` needs a truth", "`reference=gt.tif`, or `max_r_ergas`")


def pass_gate(gate: GateOptions, found: Assessment) -> None:
    """Fail if the image does not reach what was asked for.

    Raises:
        QualityError: The image does not reach it, with the numbers.
    """
    row = found.candidates[0]
    values = {**(row.full or {}), **(row.truth or {})}
    failed = []
    for key, limit in stated(gate).items():
        if limit is None:
            continue
        end, index = key.split("_", 1)
        symbol, value = found.indices[index].symbol, values.get(index)
        if value is None:
            failed.append(f"{symbol} has not enough data")
        elif end == "min" and value < limit:
            failed.append(f"{symbol} is {value:.4f}, at least {limit:g} is asked for")
        elif end == "max" and value > limit:
            failed.append(f"{symbol} is {value:.4f}, at most {limit:g} is asked for")
    if failed:
        raise QualityError("; ".join(failed), "look at the report (-o report.html) for where and why")
