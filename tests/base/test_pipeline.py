from __future__ import annotations

import threading
import time

import pytest

from clippan_cli.base.pipeline import Clock, Pipeline


def test_results_come_in_order_and_times_are_booked() -> None:
    written: list[int] = []
    clock = Clock()

    def compute(job: int, loaded: int) -> int:
        time.sleep(0.02 if job % 2 == 0 else 0)
        return loaded * 10

    Pipeline(lambda job: job + 1, compute, lambda _, result: written.append(result), 2, clock).run(range(9))
    assert written == [10 * (k + 1) for k in range(9)]
    assert clock.compute >= 0.1


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
    assert threading.active_count() < 10
