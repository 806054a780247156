"""What a caller may hear while work goes on."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Hears how the work goes on."""

    def say(self, text: str) -> None:
        """Hear a line for people."""

    def warn(self, text: str) -> None:
        """Hear a line that people should read."""

    def begin(self, what: str, total: int) -> None:
        """Hear that a part of the work begins, of so many pixels."""

    def advance(self, pixels: int) -> None:
        """Hear that pixels of that part are done."""


class Deaf:
    """Hears nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Do nothing."""

    def begin(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, pixels: int) -> None:
        """Do nothing."""
