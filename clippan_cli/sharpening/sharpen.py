"""Sharpen a scene: from two files to one."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from clippan_cli.base.listener import Deaf, Listener
from clippan_cli.base.pipeline import Clock
from clippan_cli.errors import Interrupted, OutputError
from clippan_cli.fusion.guard import judge
from clippan_cli.fusion.method import Fitted, Statistics
from clippan_cli.fusion.moments import Moments
from clippan_cli.opening.statistics import gather, no_moments
from clippan_cli.opening.survey import common_box
from clippan_cli.scene.writer import Writer, free_space
from clippan_cli.sharpening.engine import Engine
from clippan_cli.sharpening.job import Job, check_output, prepared
from clippan_cli.sharpening.journal import Journal, check_key
from clippan_cli.sharpening.options import Options
from clippan_cli.sharpening.output import output_format, output_meaning
from clippan_cli.sharpening.quantiser import Quantiser
from clippan_cli.sharpening.record import describe_plan, describe_scene, run_key, versions

SCHEMA_VERSION = 1

_BLOCK = 1024
_DEFLATED = 4


def sharpen(
    ms: Sequence[str],
    pan: str,
    output: str | Path,
    options: Options | None = None,
    listener: Listener | None = None,
    stop: Event | None = None,
) -> dict[str, Any]:
    """Sharpen MS with PAN into ``output``.

    Args:
        ms: One multispectral raster, or several files with a band each.
        pan: The panchromatic raster.
        output: The file to write; a record ``<output>.clippan.json`` is laid beside it.
        options: How.
        listener: Hears of progress.
        stop: Set it to stop after the row of tiles in work.

    Returns:
        The record.

    Raises:
        InputError: The scene cannot be used.
        OutputError: The result cannot be written.
        ResourceError: Memory or device do not suffice.
        Interrupted: ``stop`` was set; ``resume`` continues.
    """
    began = time.perf_counter()
    options, hears, path = options or Options(), listener or Deaf(), Path(output)
    check_output(path, [*ms, pan], options)
    with prepared(ms, pan, options, hears) as job:
        return _Making(job, path, hears, stop or Event()).run(began)


def explain(
    ms: Sequence[str],
    pan: str,
    output: str | Path | None = None,
    options: Options | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """What :func:`sharpen` finds and would do, without doing it.

    Raises:
        ClippanError: Whatever :func:`sharpen` would raise before its first tile.
    """
    options = options or Options()
    if output is not None:
        check_output(Path(output), [*ms, pan], options)
    with prepared(ms, pan, options, listener or Deaf()) as job:
        target = {} if output is None else {"output": str(output)}
        return {"schema_version": SCHEMA_VERSION, **target, **describe_scene(job), "plan": describe_plan(job)}


class _Making:
    """The making of one output."""

    def __init__(self, job: Job, path: Path, hears: Listener, stop: Event) -> None:
        self._job, self._path, self._hears, self._stop = job, path, hears, stop
        self._clock = Clock()
        self._form = output_format(job)
        self._writer = Writer(path, self._form, output_meaning(job))
        self._journal = Journal(self._writer.partial)
        self._record_path = path.with_name(path.name + ".clippan.json")
        self._key = run_key(job)
        self._counts = {"clipped": 0, "moved_off_nodata": 0}
        self._method = job.method.name
        self._guard: dict[str, Any] | None = None

    def run(self, began: float) -> dict[str, Any]:
        job = self._job
        resumed = self._resume() if job.options.resume else None
        if resumed is None and job.options.resume and self._path.exists():
            return self._former()
        moments, first = resumed or self._start()
        chosen = next(each for each in (job.method, *job.anchors) if each.name == self._method)
        fitted = chosen.fit(Statistics(job.sampling, moments, job.known.samples))
        engine = Engine(
            job.pair,
            job.known,
            fitted,
            job.options.consistency,
            job.plan,
            job.aoi,
            Quantiser(self._form.dtype, self._form.nodata, job.chosen, self._form.bits),
            self._writer,
            job.device,
            self._clock,
            job.memory,
            self._stop,
        )
        self._hears.begin("sharpening", job.box.shape[0] * job.box.shape[1])
        engine.run(first, self._counts, self._book, self._hears.advance)
        self._writer.finish()
        self._tell_counts()
        record = self._record(fitted, first, time.perf_counter() - began)
        self._record_path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", "utf-8")
        self._writer.publish()
        self._journal.remove()
        return record

    def _judge(self, moments: Moments) -> None:
        """Compare a network with its anchors; where it is worse, the first of them takes its place."""
        job = self._job
        if not job.anchors:
            return
        statistics = Statistics(job.sampling, moments, job.known.samples)
        learned, *anchors = (each.fit(statistics) for each in (job.method, *job.anchors))
        verdict = judge(learned, anchors, job.known.samples, job.sampling, job.options.consistency, job.device)
        self._guard = verdict.to_json()
        if verdict.reason is not None:
            self._method = job.anchors[0].name
            text = f"model {job.method.name} is worse than classical methods here ({verdict.reason})"
            self._hears.warn(f"{text}: {self._method} is used instead (--no-guard keeps the model)")

    def _former(self) -> dict[str, Any]:
        """The record of a run that had finished, if it was this one."""
        try:
            record: dict[str, Any] = json.loads(self._record_path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{self._path} exists, and has no record that says how it was made",
                "choose another name, or replace it with --overwrite",
            ) from error
        check_key(record.get("key", {}), self._key, self._path.name)
        self._hears.say(f"{self._path} is complete already")
        return record

    def _start(self) -> tuple[Moments, int]:
        """From nothing: an empty file, the statistics, a new journal."""
        self._check_disk()
        self._writer.discard()
        self._journal.remove()
        self._writer.create()
        try:
            moments = self._statistics()
            self._judge(moments)
            if self._method != self._job.method.name:
                self._writer.create({"CLIPPAN_METHOD": self._method})
            header = {"key": self._key, "moments": moments.to_json(), "method": self._method, "guard": self._guard}
            self._journal.start(header)
        except BaseException:
            self._writer.discard()
            raise
        return moments, 0

    def _resume(self) -> tuple[Moments, int] | None:
        """From what a former run left."""
        found = self._journal.resume(self._key)
        if found is None:
            return None
        self._counts, self._method, self._guard = found.counts, found.header["method"], found.header["guard"]
        self._hears.say(f"resuming after {found.rows} of {self._job.plan.rows} rows of tiles")
        return Moments.from_json(found.header["moments"]), found.rows

    def _book(self, row: int) -> None:
        self._journal.note(row, self._counts)

    def _statistics(self) -> Moments:
        job = self._job
        if not job.features:
            return no_moments(job.pair.ms.count)
        common = common_box(job.pair)
        self._hears.begin("statistics", common.shape[0] * common.shape[1])
        return gather(
            job.pair,
            job.known,
            job.features,
            side=min(_BLOCK, job.plan.size),
            workers=job.plan.workers,
            device=job.device,
            clock=self._clock,
            progress=self._advance,
        )

    def _advance(self, pixels: int) -> None:
        if self._stop.is_set():
            raise Interrupted("stopped before the first tile", "start again")
        self._job.memory.check()
        self._hears.advance(pixels)

    def _check_disk(self) -> None:
        height, width = self._job.box.shape
        needed = height * width * len(self._job.chosen) * np.dtype(self._form.dtype).itemsize
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

    def _tell_counts(self) -> None:
        if self._counts["clipped"]:
            self._hears.say(f"{self._counts['clipped']} values were clipped to the range of {self._form.dtype}")
        if self._counts["moved_off_nodata"]:
            self._hears.say(
                f"{self._counts['moved_off_nodata']} valid values equal to nodata ({self._form.nodata:g}) "
                "were moved by one"
            )

    def _record(self, fitted: Fitted, first: int, seconds: float) -> dict[str, Any]:
        job = self._job
        pixels = job.box.shape[0] * job.box.shape[1]
        return {
            "schema_version": SCHEMA_VERSION,
            "output": str(self._path),
            "key": self._key,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            **describe_scene(job),
            "plan": describe_plan(job),
            "method_used": self._method,
            "guard": self._guard,
            "fitted": fitted.parameters,
            "counts": {"pixels": pixels, **self._counts},
            "timing": {
                "seconds": round(seconds, 3),
                "read": round(self._clock.read, 3),
                "compute": round(self._clock.compute, 3),
                "write": round(self._clock.write, 3),
                "megapixels_per_second": round(pixels / seconds / 1e6, 3),
                "resumed_at_row": first,
            },
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
