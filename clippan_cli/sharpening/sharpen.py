"""The sharpening of a scene: from two files to one."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import numpy as np

from clippan_cli.base.documents import as_json, as_plain, from_plain
from clippan_cli.base.files import replace_file
from clippan_cli.base.identity import check_same
from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.machine import use_machine
from clippan_cli.base.options import stated
from clippan_cli.base.pipeline import Clock
from clippan_cli.base.version import versions
from clippan_cli.errors import Interrupted, OutputError
from clippan_cli.fusion.guard import Verdict, judge
from clippan_cli.fusion.method import Fitted, Statistics
from clippan_cli.fusion.moments import Moments
from clippan_cli.opening.record import describe_scene
from clippan_cli.opening.scene import open_scene
from clippan_cli.opening.statistics import gather
from clippan_cli.opening.survey import common_box
from clippan_cli.scene.find import SceneFiles
from clippan_cli.scene.writer import Writer, free_space
from clippan_cli.sharpening.engine import Engine
from clippan_cli.sharpening.job import Job, check_output, plan_job
from clippan_cli.sharpening.journal import Header, Journal
from clippan_cli.sharpening.options import SharpenOptions
from clippan_cli.sharpening.output import output_format, output_meaning
from clippan_cli.sharpening.quantiser import Changes, Quantiser
from clippan_cli.sharpening.record import (
    SCHEMA_VERSION,
    Counts,
    Explanation,
    Record,
    Timing,
    describe_plan,
    explain_job,
    run_key,
)

_BLOCK = 1024
_DEFLATED = 4


def sharpen(
    ms: Sequence[str],
    pan: str,
    output: str | Path,
    options: SharpenOptions | None = None,
    listener: Listener | None = None,
    *,
    stop: Event | None = None,
) -> Record:
    """Sharpen MS with PAN into ``output``.

    Args:
        ms: One multispectral raster, or several files with a band each.
        pan: The panchromatic raster.
        output: The file to write; a record ``<output>.clippan.json`` is laid beside it.
        options: What the user says.
        listener: The listener, who hears of progress.
        stop: The event that stops the run after the row of tiles in work.

    Returns:
        The record.

    Raises:
        InputError: The scene cannot be used.
        OutputError: The result cannot be written.
        ResourceError: Memory or device do not suffice.
        Interrupted: ``stop`` was set; ``resume`` continues.
    """
    began = time.perf_counter()
    options, hears, path = options or SharpenOptions(), listener or Deaf(), Path(output)
    check_output(path, [*ms, pan], options)
    with _open_job(ms, pan, options, hears) as job:
        return _Making(job, path, hears, stop or Event()).run(began)


def explain(
    ms: Sequence[str],
    pan: str,
    output: str | Path | None = None,
    options: SharpenOptions | None = None,
    listener: Listener | None = None,
) -> Explanation:
    """Say what :func:`sharpen` finds and would do, without doing it.

    Raises:
        ClippanError: Whatever :func:`sharpen` would raise before its first tile.
    """
    options = options or SharpenOptions()
    if output is not None:
        check_output(Path(output), [*ms, pan], options)
    with _open_job(ms, pan, options, listener or Deaf()) as job:
        return explain_job(job, None if output is None else str(output))


@contextmanager
def _open_job(ms: Sequence[str], pan: str, options: SharpenOptions, hears: Listener) -> Iterator[Job]:
    """Open a scene and plan its sharpening."""
    files = SceneFiles(Path(pan).stem, tuple(ms), pan)
    with use_machine(options.machine) as machine, open_scene(files, options.scene, machine, hears) as scene:
        yield plan_job(scene, options, hears)


class _Making:
    """Makes one output of a planned sharpening."""

    def __init__(self, job: Job, path: Path, hears: Listener, stop: Event) -> None:
        self._job, self._path, self._hears, self._stop = job, path, hears, stop
        self._clock = Clock()
        self._form = output_format(job)
        self._writer = Writer(path, self._form, output_meaning(job))
        self._journal = Journal(self._writer.partial)
        self._record_path = path.with_name(path.name + ".clippan.json")
        self._key = run_key(job)
        self._changes = Changes()
        self._method = job.method.name
        self._guard: Verdict | None = None

    def run(self, began: float) -> Record:
        job = self._job
        resumed = self._resume() if job.options.resume else None
        if resumed is None and job.options.resume and self._path.exists():
            return self._former()
        moments, first = resumed or self._start()
        chosen = next(each for each in (job.method, *job.anchors) if each.name == self._method)
        fitted = chosen.fit(self._statistics(moments))
        engine = Engine(
            job=job,
            fitted=fitted,
            quantiser=Quantiser(self._form.dtype, self._form.nodata, job.chosen, self._form.bits),
            writer=self._writer,
            clock=self._clock,
            stop=self._stop,
        )
        self._hears.begin("sharpening", job.box.pixels)
        engine.run(first, self._changes, self._book, self._hears.advance)
        self._writer.finish()
        self._tell_changes()
        record = self._record(fitted, first, time.perf_counter() - began)
        replace_file(self._record_path, as_json(record).encode() + b"\n")
        self._writer.publish()
        self._journal.remove()
        return record

    def _statistics(self, moments: Moments) -> Statistics:
        return Statistics(self._job.scene.sampling, moments, self._job.scene.known.samples)

    def _judge(self, moments: Moments) -> None:
        """Compare a network with its anchors; where it is worse, the first of them takes its place."""
        job, scene = self._job, self._job.scene
        if not job.anchors:
            return
        statistics = self._statistics(moments)
        learned, *anchors = (each.fit(statistics) for each in (job.method, *job.anchors))
        self._guard = judge(learned, anchors, statistics, job.options.consistency, scene.machine.device)
        if self._guard.reason is not None:
            self._method = job.anchors[0].name
            text = f"model {job.method.name} is worse than classical methods here ({self._guard.reason})"
            self._hears.warn(f"{text}: {self._method} is used instead (`guard=false` keeps the model)")

    def _former(self) -> Record:
        """Return the record of a run that had finished, if it was this one."""
        try:
            plain = json.loads(self._record_path.read_text("utf-8"))
            check_same(plain["key"], self._key, self._path.name, OutputError)
            record = from_plain(Record, plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{self._path} exists, and has no record that says how it was made",
                "choose another name, or replace it with `overwrite`",
            ) from error
        self._hears.say(f"{self._path} is complete already")
        return record

    def _start(self) -> tuple[Moments, int]:
        """Begin from nothing: an empty file, the statistics, a new journal."""
        self._check_disk()
        self._writer.discard()
        self._journal.remove()
        self._writer.create()
        try:
            moments = self._gather()
            self._judge(moments)
            if self._method != self._job.method.name:
                self._writer.create({"CLIPPAN_METHOD": self._method})
            self._journal.start(Header(key=self._key, moments=moments.record, method=self._method, guard=self._guard))
        except BaseException:
            self._writer.discard()
            raise
        return moments, 0

    def _resume(self) -> tuple[Moments, int] | None:
        """Begin from what a former run left."""
        found = self._journal.resume(self._key)
        if found is None:
            return None
        header, state = found
        self._changes, self._method, self._guard = state.counts, header.method, header.guard
        self._hears.say(f"resuming after {state.rows} of {self._job.plan.rows} rows of tiles")
        return Moments.of(header.moments), state.rows

    def _book(self, row: int) -> None:
        self._journal.note(row, self._changes)

    def _gather(self) -> Moments:
        job = self._job
        if job.features:
            self._hears.begin("statistics", common_box(job.scene.pair).pixels)
        return gather(
            job.scene, job.features, side=min(_BLOCK, job.plan.size), clock=self._clock, progress=self._advance
        )

    def _advance(self, pixels: int) -> None:
        if self._stop.is_set():
            raise Interrupted("stopped before the first tile", "start again")
        self._job.scene.machine.memory.check()
        self._hears.advance(pixels)

    def _check_disk(self) -> None:
        needed = self._job.box.pixels * len(self._job.chosen) * np.dtype(self._form.dtype).itemsize
        compressed = self._form.options.get("COMPRESS", "DEFLATE").upper() != "NONE"
        needed = needed // _DEFLATED if compressed else needed
        needed *= 2 if self._form.driver == "COG" else 1
        free = free_space(self._path)
        if free < needed:
            raise OutputError(
                f"the disk is full: {self._path.parent} has {free / 2**20:.0f} MiB free, the output needs "
                f"{'at least ' if compressed else ''}{needed / 2**20:.0f} MiB",
                "free some space or choose another folder",
            )

    def _tell_changes(self) -> None:
        if self._changes.clipped:
            self._hears.say(f"{self._changes.clipped} values were clipped to the range of {self._form.dtype}")
        if self._changes.moved_off_nodata:
            self._hears.say(
                f"{self._changes.moved_off_nodata} valid values equal to nodata ({self._form.nodata:g}) "
                "were moved by one"
            )

    def _record(self, fitted: Fitted, first: int, seconds: float) -> Record:
        job, clock = self._job, self._clock
        pixels = job.box.pixels
        return Record(
            schema_version=SCHEMA_VERSION,
            output=str(self._path),
            key=self._key,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=versions(),
            plan=describe_plan(job),
            method_used=self._method,
            guard=self._guard,
            fitted=fitted.parameters,
            counts=Counts(pixels=pixels, **asdict(self._changes)),
            timing=Timing(
                seconds=round(seconds, 3),
                read=round(clock.read, 3),
                compute=round(clock.compute, 3),
                write=round(clock.write, 3),
                megapixels_per_second=round(pixels / seconds / 1e6, 3),
                resumed_at_row=first,
            ),
            peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            options=as_plain(stated(job.options)),
            **vars(describe_scene(job.scene)),
        )
