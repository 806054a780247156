"""A pipeline that reads, computes and writes at the same time, results in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

_Job = TypeVar("_Job")
_Read = TypeVar("_Read")
_Result = TypeVar("_Result")
_Out = TypeVar("_Out")


@dataclass
class Clock:
    """Counts the seconds spent in each part of the work, summed over threads."""

    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0

    def __post_init__(self) -> None:
        self._lock = Lock()

    def time(self, part: str, call: Callable[[], _Out]) -> _Out:
        """Run ``call`` and book its time."""
        start = time.perf_counter()
        try:
            return call()
        finally:
            with self._lock:
                setattr(self, part, getattr(self, part) + time.perf_counter() - start)


class Pipeline(Generic[_Job, _Read, _Result]):
    """Runs one reader, several workers, and the caller's thread as the writer.

    Args:
        read: The function that reads a job's input, called in one thread of its own.
        compute: The function that computes its result, called in the workers.
        write: The function that takes the result, called in the caller's thread, in the order of the jobs.
        workers: The number of threads that compute at once.
        clock: The clock that books the times.
    """

    def __init__(
        self,
        read: Callable[[_Job], _Read],
        compute: Callable[[_Job, _Read], _Result],
        write: Callable[[_Job, _Result], None],
        workers: int,
        clock: Clock,
    ) -> None:
        self._read, self._compute, self._write = read, compute, write
        self._workers, self._clock = workers, clock

    def run(self, jobs: Iterable[_Job]) -> None:
        """Work through all jobs; the first exception stops everything."""
        waiting: deque[tuple[_Job, Future[_Result]]] = deque()
        with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(self._workers, "worker") as pool:
            try:
                for job in jobs:
                    loaded = reader.submit(self._time_read, job)
                    waiting.append((job, pool.submit(self._time_compute, job, loaded)))
                    if len(waiting) > self._workers + 1:
                        self._finish(*waiting.popleft())
                while waiting:
                    self._finish(*waiting.popleft())
            except BaseException:
                for _, future in waiting:
                    future.cancel()
                reader.shutdown(cancel_futures=True)
                raise

    def _time_read(self, job: _Job) -> _Read:
        return self._clock.time("read", lambda: self._read(job))

    def _time_compute(self, job: _Job, loaded: Future[_Read]) -> _Result:
        pixels = loaded.result()
        return self._clock.time("compute", lambda: self._compute(job, pixels))

    def _finish(self, job: _Job, future: Future[_Result]) -> None:
        result = future.result()
        self._clock.time("write", lambda: self._write(job, result))
