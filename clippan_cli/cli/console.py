"""The talk on stderr: progress, notes, warnings, errors."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING

import typer

from clippan_cli.errors import ClippanError, ExitCode

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY = 30.0
_TENTH = 0.1 - 1e-9


class Console:
    """Talks to people while the work goes on; hears what :class:`clippan_cli.base.listener.Listener` hears.

    It draws a bar when stderr is a terminal, and says a plain line every tenth or every 30 seconds when it is not.

    Args:
        loudness: The loudness; below 0 only errors are said.
        spell: The function that spells the options that a text of the library names.
    """

    def __init__(self, loudness: int = 0, spell: Callable[[str], str] = str) -> None:
        self._quiet, self._spell = loudness < 0, spell
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._total, self._done, self._said, self._said_at = "", 0, 0, 0.0, 0.0
        if sys.stderr.isatty() and not self._quiet and os.environ.get("TERM") != "dumb":
            from rich import progress
            from rich.console import Console as RichConsole

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TimeRemainingColumn(),
                console=RichConsole(stderr=True),
            )

    def __enter__(self) -> Console:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Say a note."""
        self._print(self._spell(text))

    def warn(self, text: str) -> None:
        """Say what should be read."""
        self._print(f"warning: {self._spell(text)}")

    def begin(self, what: str, total: int) -> None:
        """Begin a part of the work."""
        self._what, self._total, self._done, self._said, self._said_at = what, total, 0, 0.0, time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, total=total)

    def advance(self, pixels: int) -> None:
        """Count pixels that are done."""
        self._done += pixels
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, pixels)
            return
        share = self._done / max(self._total, 1)
        late = time.monotonic() - self._said_at > _LINE_EVERY
        if share - self._said >= _TENTH or late or (share >= 1 > self._said):
            self._said, self._said_at = share, time.monotonic()
            self._print(f"{self._what} {share:.0%}")

    def _print(self, text: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            typer.echo(text, err=True)


def fail(error: ClippanError, spell: Callable[[str], str] = str) -> typer.Exit:
    """Say what is wrong and what to do; return the exit to raise."""
    typer.echo(f"error: {spell(error.what)}", err=True)
    if error.hint:
        typer.echo(f"hint: {spell(error.hint)}", err=True)
    return typer.Exit(error.exit_code)


@contextmanager
def report_errors(spell: Callable[[str], str] = str) -> Iterator[None]:
    """Turn every exception into one line, a hint and an exit code.

    Args:
        spell: The function that spells the options that a text of the library names.
    """
    try:
        yield
    except ClippanError as error:
        _trace()
        raise fail(error, spell) from error
    except KeyboardInterrupt as error:
        typer.echo("interrupted", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except BrokenPipeError as error:
        raise typer.Exit(ExitCode.OUTPUT) from error
    except MemoryError as error:
        typer.echo("error: out of memory\nhint: allow less with --memory, or take a larger machine", err=True)
        raise typer.Exit(ExitCode.RESOURCE) from error
    except typer.Exit:
        raise
    except OSError as error:
        _trace()
        typer.echo(f"error: {error}\nhint: check the disk and the permissions", err=True)
        raise typer.Exit(ExitCode.OUTPUT) from error
    except Exception as error:
        _trace()
        typer.echo(f"error: internal: {type(error).__name__}: {error}", err=True)
        typer.echo("hint: CLIPPAN_DEBUG=1 shows where; please report it with the command and its record", err=True)
        raise typer.Exit(ExitCode.INTERNAL) from error


def _trace() -> None:
    if os.environ.get("CLIPPAN_DEBUG") or "-vv" in sys.argv:
        traceback.print_exc()


@contextmanager
def catch_signals() -> Iterator[Event]:
    """Give an event that the first SIGINT or SIGTERM sets; the second ends the process at once."""
    event = Event()

    def ask(number: int, _: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        typer.echo("stopping after the tiles in work; once more stops at once", err=True)

    former = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
