"""Errors: each carries an exit code and a hint."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The number that the process returns to the shell."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    INPUT = 3
    MODEL = 4
    OUTPUT = 5
    QUALITY_GATE = 7
    RESOURCE = 8
    INTERRUPTED = 130


class ClippanError(Exception):
    """Something went wrong that the user can understand.

    Args:
        what: The line that says what is wrong, with the numbers.
        hint: The line that says what to do about it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, what: str, hint: str = "") -> None:
        # Libraries below say theirs in several lines.
        self.what = " ".join(what.split())
        super().__init__(self.what)
        self.hint = hint


class UsageError(ClippanError):
    """The command line contradicts itself."""

    exit_code = ExitCode.USAGE


class InputError(ClippanError):
    """A scene cannot be used as it is."""

    exit_code = ExitCode.INPUT


class ModelError(ClippanError):
    """A model cannot be used, or not for this scene."""

    exit_code = ExitCode.MODEL


class OutputError(ClippanError):
    """The result cannot be written."""

    exit_code = ExitCode.OUTPUT


class QualityError(ClippanError):
    """An image does not reach the quality that was asked for."""

    exit_code = ExitCode.QUALITY_GATE


class ResourceError(ClippanError):
    """The device or the memory does not suffice."""

    exit_code = ExitCode.RESOURCE


class Interrupted(ClippanError):
    """The run was stopped from outside and can be resumed."""

    exit_code = ExitCode.INTERRUPTED
