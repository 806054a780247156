"""The forms that a supervisor can have."""

from __future__ import annotations

from clippan_cli.errors import UsageError

DIFFERENCES = "differences"
INPUTS = (DIFFERENCES, "conv", "pca", "rgb", "gbnir")
"""The ways to make three channels: band by band beside MS and PAN, or all bands as one image (CLIPPan's Table 4), by a
map that learns or by fixed ones."""

SHARED, SIX = "shared", "six"
ADAPTERS = (SHARED, SIX)
"""The forms of the adapters: one for all images, or the paper's six."""


def check_input(kind: str) -> None:
    """Refuse a way to make three channels that there is not.

    Raises:
        UsageError: There is no such way.
    """
    if kind not in INPUTS:
        raise UsageError(f"unknown MS input {kind!r}", "known: " + ", ".join(INPUTS))


def check_adapters(form: str) -> None:
    """Refuse a form of the adapters that there is not.

    Raises:
        UsageError: There is no such form.
    """
    if form not in ADAPTERS:
        raise UsageError(f"unknown form of adapters {form!r}", "known: " + ", ".join(ADAPTERS))
