from __future__ import annotations

import pytest

from clippan_cli.base.rerun import check_rerun
from clippan_cli.base.version import ALGORITHM, __version__, versions
from clippan_cli.errors import ClippanError, ExitCode, UsageError


def test_one_of_both() -> None:
    for overwrite, resume in ((False, False), (True, False), (False, True)):
        check_rerun(overwrite=overwrite, resume=resume)
    with pytest.raises(UsageError, match="exclude each other"):
        check_rerun(overwrite=True, resume=True)


def test_versions_are_told() -> None:
    found = vars(versions())
    assert found["clippan"] == __version__
    assert found["algorithm"] == ALGORITHM
    assert all(value and isinstance(value, str) for value in found.values())


def test_each_error_has_an_exit_code_of_its_own() -> None:
    kinds = ClippanError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert set(ExitCode) - set(codes) == {ExitCode.OK, ExitCode.INTERNAL}
    error = UsageError("what", "hint")
    assert (str(error), error.what, error.hint, int(error.exit_code)) == ("what", "what", "hint", 2)
