from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clippan_cli.base.pipeline import Clock, Pipeline


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("reader", "worker"))}


def test_results_come_in_order_and_times_are_booked() -> None:
    written: list[int] = []
    clock = Clock()

    def compute(job: int, loaded: int) -> int:
        time.sleep(0.02 if job % 2 == 0 else 0)
        return loaded * 10

    Pipeline(lambda job: job + 1, compute, lambda _, result: written.append(result), 2, clock).run(range(9))
    assert written == [10 * (k + 1) for k in range(9)]
    assert clock.compute >= 0.1


@settings(max_examples=20)
@given(st.integers(0, 12), st.integers(1, 5))
def test_each_job_is_done_once_and_in_order(jobs: int, workers: int) -> None:
    read: list[int] = []
    written: list[tuple[int, str]] = []

    def load(job: int) -> int:
        read.append(job)
        return -job

    def compute(job: int, loaded: int) -> str:
        time.sleep(random.Random(job).random() / 1000)
        return f"{job}{loaded}"

    Pipeline(load, compute, lambda *done: written.append(done), workers, Clock()).run(range(jobs))
    assert read == list(range(jobs))
    assert written == [(job, f"{job}{-job}") for job in range(jobs)]
    assert not _threads()


def test_reading_keeps_to_one_thread_and_writing_to_the_callers() -> None:
    seen: dict[str, set[str]] = {"read": set(), "compute": set(), "write": set()}

    def note(part: str) -> None:
        seen[part].add(threading.current_thread().name)
        time.sleep(0.002)

    work: Pipeline[int, None, None] = Pipeline(
        lambda _: note("read"), lambda *_: note("compute"), lambda *_: note("write"), 3, Clock()
    )
    work.run(range(12))
    assert len(seen["read"]) == 1
    assert 1 <= len(seen["compute"]) <= 3
    assert seen["write"] == {threading.current_thread().name}


@pytest.mark.parametrize("workers", [1, 3])
def test_few_jobs_wait_at_once(workers: int) -> None:
    """Memory is bounded by what is read and not yet written."""
    waiting, most, lock = 0, 0, threading.Lock()

    def load(_: int) -> None:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)

    def write(*_: object) -> None:
        nonlocal waiting
        time.sleep(0.001)
        with lock:
            waiting -= 1

    Pipeline(load, lambda *_: None, write, workers, Clock()).run(range(30))
    assert waiting == 0
    assert most <= workers + 2


@pytest.mark.parametrize("place", ["read", "compute", "write"])
def test_an_error_stops_everything(place: str) -> None:
    def fail(part: str, job: int) -> int:
        if part == place and job == 3:
            raise ValueError(f"{place} of {job}")
        return job

    written: list[int] = []

    def write(job: int, result: int) -> None:
        fail("write", job)
        written.append(result)

    with pytest.raises(ValueError, match=f"{place} of 3"):
        Pipeline(lambda job: fail("read", job), lambda job, _: fail("compute", job), write, 2, Clock()).run(range(100))
    assert written == [0, 1, 2]
    assert not _threads()


@pytest.mark.parametrize("place", ["read", "compute", "write"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_a_stop_from_outside_leaves_no_thread(place: str, kind: type[BaseException]) -> None:
    done = {"read": 0, "compute": 0, "write": 0}

    def step(part: str) -> None:
        done[part] += 1
        if part == place and done[part] == 2:
            raise kind

    work: Pipeline[int, None, None] = Pipeline(
        lambda _: step("read"), lambda *_: step("compute"), lambda *_: step("write"), 2, Clock()
    )
    with pytest.raises(kind):
        work.run(range(1000))
    assert not _threads()
    assert max(done.values()) < 20


def test_jobs_that_cannot_be_listed_stop_everything_too() -> None:
    def jobs() -> Iterator[int]:
        yield from range(5)
        raise RuntimeError("no more")

    written: list[int] = []
    work: Pipeline[int, int, int] = Pipeline(
        lambda job: job, lambda job, _: job, lambda job, _: written.append(job), 2, Clock()
    )
    with pytest.raises(RuntimeError, match="no more"):
        work.run(jobs())
    assert written == list(range(len(written)))
    assert not _threads()


def test_a_clock_books_what_fails_and_adds_up_threads() -> None:
    clock = Clock()

    def fail() -> None:
        time.sleep(0.01)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        clock.time("read", fail)
    assert clock.read >= 0.01
    assert clock.time("write", lambda: 7) == 7
    threads = [threading.Thread(target=clock.time, args=("compute", lambda: time.sleep(0.01))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.compute >= 0.04
