"""What a caller may hear while work goes on."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """What a caller may hear while a scene is sharpened."""

    def say(self, text: str) -> None:
        """A line for people."""

    def warn(self, text: str) -> None:
        """A line that people should read."""

    def begin(self, what: str, total: int) -> None:
        """A part of the work begins, of so many pixels."""

    def advance(self, pixels: int) -> None:
        """Pixels of that part are done."""


class Deaf:
    """A listener that does nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def begin(self, what: str, total: int) -> None:
        """Nothing."""

    def advance(self, pixels: int) -> None:
        """Nothing."""
