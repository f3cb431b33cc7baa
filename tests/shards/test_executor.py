"""Tasks run on any number of processes; a failure there is one readable error."""

import operator
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from freelight.shards import FreelightError
from freelight.shards.base import run_tasks
from freelight.shards.base.processes import exits_on_sigterm


def test_results_come_for_every_task_on_one_and_on_two_processes() -> None:
    for workers in (1, 2):
        assert sorted(run_tasks(abs, range(-9, 1), workers=workers)) == list(range(10))


def test_one_worker_is_this_process_and_two_are_others() -> None:
    """One needs no pickling and can be debugged step by step; with two, this process can show progress."""
    assert set(run_tasks(operator.call, [os.getpid] * 4, workers=1)) == {os.getpid()}
    assert os.getpid() not in set(run_tasks(operator.call, [os.getpid] * 8, workers=2))


def test_no_workers_is_an_error() -> None:
    with pytest.raises(FreelightError, match=r"`workers` \(=0\) must be at least 1"):
        list(run_tasks(abs, [1], workers=0))


def test_more_workers_than_a_machine_can_start_are_an_error() -> None:
    """100,000 of them kept a machine busy for a minute without a word."""
    cores = len(os.sched_getaffinity(0))
    with pytest.raises(FreelightError, match=rf"`workers` \(=100000\) must be at most {16 * cores} on {cores} cores"):
        next(run_tasks(abs, [1], workers=100_000))


@pytest.mark.slow
def test_shared_memory_without_space_is_named_in_one_line(pictures: Path, tmp_path: Path) -> None:
    """A container may have little of it; it was reported as standard output that cannot be written."""
    freelight = Path(sys.executable).with_name("freelight")
    command = [freelight, "make-shards", "--images", pictures, "--out", tmp_path / "out"]
    script = 'mount -t tmpfs -o size=4k none /dev/shm && exec "$@"'
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *command, "--workers", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: /dev/shm cannot be written: the disk mounted at /dev/shm has too little space (0 bytes free); "
        "free some space, then run the same command again\n"
    )


def test_sigterm_while_workers_start_ends_a_command_in_order() -> None:
    """In the middle of a start, joblib would answer it with `cannot join thread before it is started`."""

    def tasks() -> Iterator[int]:
        signal.raise_signal(signal.SIGTERM)  # joblib takes the first task before it starts its threads
        running.append(True)
        yield 1

    running: list[bool] = []
    with exits_on_sigterm(), pytest.raises(SystemExit, match="143"):
        list(run_tasks(abs, tasks(), workers=2))
    assert running  # it was put off


@pytest.mark.slow
def test_a_killed_worker_is_an_error_with_the_remedy() -> None:
    with pytest.raises(FreelightError, match=r"a worker process was killed .* fewer `workers`"):
        list(run_tasks(os._exit, [1, 1], workers=2))
