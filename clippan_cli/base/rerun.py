"""The fate of a product that is there already: it is replaced, continued, or left alone."""

from __future__ import annotations

from typing import Any

from clippan_cli.base.options import option
from clippan_cli.errors import UsageError


def overwrite() -> Any:
    """State the option that replaces what is there."""
    return option(False, "Replaces existing outputs.", identity=False)


def resume() -> Any:
    """State the option that continues what is there."""
    return option(False, "Continues a run that was stopped or killed.", identity=False)


def check_rerun(*, overwrite: bool, resume: bool) -> None:
    """Refuse to continue and to begin again at once.

    Raises:
        UsageError: Both were asked for.
    """
    if overwrite and resume:
        raise UsageError("`overwrite` and `resume` exclude each other", "`resume` continues; `overwrite` starts again")
