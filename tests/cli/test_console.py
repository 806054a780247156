"""What is said, where, and how a command ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
import typer

from clippan_cli.base.options import spell
from clippan_cli.cli.console import Console, catch_signals, report_errors
from clippan_cli.errors import (
    ClippanError,
    ExitCode,
    InputError,
    Interrupted,
    ModelError,
    OutputError,
    QualityError,
    ResourceError,
    UsageError,
)
from clippan_cli.sharpening.options import SharpenOptions

Capture = pytest.CaptureFixture[str]


def spelling(text: str) -> str:
    return spell(text, SharpenOptions)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(UsageError, 2), (InputError, 3), (ModelError, 4), (OutputError, 5), (QualityError, 7), (ResourceError, 8),
     (Interrupted, 130), (ClippanError, 1)],
)  # fmt: skip
def test_an_error_is_two_lines_and_a_code(kind: type[ClippanError], code: int, capsys: Capture) -> None:
    with pytest.raises(typer.Exit) as found, report_errors(spelling):
        raise kind("`bands` 9 is too much", "try `src_nodata=none` or `guard=false`")
    assert found.value.exit_code == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: --bidx 9 is too much\nhint: try --src-nodata none or --no-guard\n"


def test_an_error_without_a_hint_is_one_line(capsys: Capture) -> None:
    with pytest.raises(typer.Exit), report_errors():
        raise UsageError("no")
    assert capsys.readouterr().err == "error: no\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), ExitCode.RESOURCE, "error: out of memory"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
        (OSError(28, "No space left on device"), ExitCode.OUTPUT, "error: [Errno 28] No space left on device"),
        (PermissionError(13, "Permission denied", "a.tif"), ExitCode.OUTPUT, "error: [Errno 13] Permission denied"),
        (ZeroDivisionError("by zero"), ExitCode.INTERNAL, "error: internal: ZeroDivisionError: by zero"),
        (RuntimeError("two\nlines"), ExitCode.INTERNAL, "error: internal: RuntimeError: two"),
    ],
)
def test_whatever_happens_has_a_code(error: BaseException, code: ExitCode, said: str, capsys: Capture) -> None:
    with pytest.raises(typer.Exit) as found, report_errors():
        raise error
    assert found.value.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(said)
    assert "Traceback" not in captured.err


def test_a_closed_pipe_is_silent(capsys: Capture) -> None:
    with pytest.raises(typer.Exit) as found, report_errors():
        raise BrokenPipeError
    assert found.value.exit_code == ExitCode.OUTPUT
    assert capsys.readouterr().err == ""


def test_an_exit_passes_and_success_says_nothing(capsys: Capture) -> None:
    with pytest.raises(typer.Exit) as found, report_errors():
        raise typer.Exit(7)
    assert found.value.exit_code == 7
    with report_errors():
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [UsageError, OSError, ValueError])
def test_debugging_shows_where(kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("CLIPPAN_DEBUG", "1")
    with pytest.raises(typer.Exit), report_errors():
        raise kind("here")
    assert "Traceback" in capsys.readouterr().err


def test_talk_goes_to_stderr_and_is_spelled(capsys: Capture) -> None:
    with Console(0, spelling) as console:
        console.say("see `bands`")
        console.warn("`guard=false` keeps it")
    assert capsys.readouterr() == ("", "see --bidx\nwarning: --no-guard keeps it\n")


def test_quiet_says_nothing(capsys: Capture) -> None:
    with Console(-1) as console:
        console.say("a")
        console.warn("b")
        console.begin("c", 10)
        for _ in range(10):
            console.advance(1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("total", "step", "lines"),
    [(3, 1, 3), (1, 1, 1), (100, 100, 1), (0, 0, 0), (100, 35, 3), (8000, 1000, 8), (64, 1, 10), (100, 10, 10)],
)
def test_progress_is_a_line_every_tenth(total: int, step: int, lines: int, capsys: Capture) -> None:
    console = Console()
    console.begin("working", total)
    done = 0
    while done < total:
        console.advance(step)
        done += step
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all(line.startswith("working ") and line.endswith("%") for line in said)
    shares = [int(line.split()[1][:-1]) for line in said]
    assert shares == sorted(set(shares))
    assert not shares or shares[-1] >= 100


def test_a_slow_part_is_heard_of(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("clippan_cli.cli.console.time.monotonic", lambda: now[0])
    console = Console()
    console.begin("working", 10_000)
    for _ in range(6):
        now[0] += 16
        console.advance(1)
    assert capsys.readouterr().err == "working 0%\n" * 3


def test_each_part_begins_at_nothing(capsys: Capture) -> None:
    console = Console()
    for what in ("reading", "writing"):
        console.begin(what, 2)
        console.advance(2)
    assert capsys.readouterr().err == "reading 100%\nwriting 100%\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number: signal.Signals, capsys: Capture) -> None:
    former: Callable[..., Any] | int | None = signal.getsignal(number)
    with catch_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        assert "once more stops at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == former


def test_signals_are_given_back_after_an_error() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="broken"), catch_signals():
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGTERM) == former
