"""`auto` threads and workers: a process's share of the cores that it may use."""

import logging
import os

import pytest

from freelight.shards import FreelightError
from freelight.shards.base import decoding_threads, run_tasks, usable_cores
from freelight.shards.base.cores import automatic_threads


@pytest.mark.parametrize(
    ("cores", "processes", "threads"), [(2, 1, 2), (2, 2, 1), (2, 4, 1), (16, 2, 8), (128, 8, 16), (96, 7, 13)]
)
def test_processes_share_the_cores_and_none_takes_more_than_sixteen(cores: int, processes: int, threads: int) -> None:
    assert automatic_threads(cores, processes) == threads


def test_cores_are_those_of_the_affinity_mask() -> None:
    """A job that a scheduler binds to one core starts one thread, not one for each core of the machine."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert (usable_cores(), decoding_threads("auto", 1)) == (1, 1)
    finally:
        os.sched_setaffinity(0, before)


def test_a_given_number_of_threads_is_taken_as_it_is() -> None:
    assert decoding_threads(40, 8) == 40
    with pytest.raises(FreelightError, match=r"`num_threads` \(=0\) must be at least 1"):
        decoding_threads(0, 1)


def test_automatic_workers_are_logged_and_are_not_more_than_tasks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "freelight")
    assert list(run_tasks(abs, [-1], workers="auto")) == [1]
    assert caplog.messages == [], "one task runs in this process"
    assert sorted(run_tasks(abs, [-1, -2], workers="auto")) == [1, 2]
    assert caplog.messages == ([f"workers: {min(2, usable_cores())}"] if usable_cores() > 1 else [])
