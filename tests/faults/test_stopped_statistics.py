"""compute_pca and verify_shards whose command or worker gets a signal: the next start finishes, or finds the same."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from jobs import (
    WORKER,
    Ended,
    Inject,
    Job,
    Shell,
    assert_one_line,
    assert_stopped,
    files,
    stop,
    unchanged,
)

RECORD = ".statistics.npz.partial"


def finished_shards(folder: Path) -> int:
    try:
        with np.load(folder / RECORD) as archive:
            return int(archive["shards"].sum())
    except FileNotFoundError:
        return 0


@pytest.fixture
def bare(made: Path, tmp_path: Path) -> Path:
    """A dataset of 31 shards without statistics. Its files are links, because no test here writes into them."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for path in made.iterdir():
        if not path.name.startswith("statistics"):
            (folder / path.name).hardlink_to(path)
    return folder


def assert_ended(ended: Ended, who: str, number: signal.Signals) -> None:
    if who == "worker":
        assert_one_line(ended, "a worker process was killed", "run the same command again")
    else:
        assert_stopped(ended, number)


CASES = [
    (1, "command", signal.SIGKILL),
    (1, "command", signal.SIGTERM),
    (1, "group", signal.SIGINT),
    (2, "command", signal.SIGKILL),
    (2, "command", signal.SIGTERM),
    (2, "command", signal.SIGINT),
    (2, "worker", signal.SIGKILL),
    (2, "worker", signal.SIGTERM),
]


@pytest.mark.parametrize(("workers", "who", "number"), CASES)
def test_a_stopped_compute_pca_goes_on_and_gives_the_same_bits(
    workers: int, who: str, number: signal.Signals, made: Path, bare: Path, shell: Shell, inject: Inject
) -> None:
    """Stopped twice, the second time later; the sums of finished shards are kept."""
    rng = random.Random(f"{workers}{who}{number}")
    words = ["compute_pca", "--shards", bare, "--workers", workers]

    def begin() -> Job:
        for path in bare.glob("statistics*"):
            path.unlink()
        return shell.begin(*words)

    for least, most in ((1, 5), (8, 14)):
        shards = rng.randrange(least, most)
        ended = stop(begin, lambda job: finished_shards(bare) >= shards, who, number)  # noqa: B023
        assert_ended(ended, who, number)
        inject(f"{number.name} to the {who} of compute_pca after {shards} shards")
        assert finished_shards(bare) >= shards
    shell.succeed(*words)
    assert files(bare) == files(made)
    shell.assert_no_leftover(bare)


def test_workers_killed_while_they_send_their_results_end_the_command(
    made: Path, bare: Path, shell: Shell, inject: Inject
) -> None:
    """The command is suspended until both workers have results to send, so that half of one is in the pipe."""
    words = ["compute_pca", "--shards", bare, "--workers", 2]
    job = shell.begin(*words)
    job.wait_until(lambda: finished_shards(bare) >= 1)
    workers = job.children(WORKER)
    job.hurt("command", signal.SIGSTOP)
    time.sleep(1)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    inject("SIGKILL to both workers of a suspended compute_pca")
    job.hurt("command", signal.SIGCONT)
    assert_one_line(job.end(), "a worker process was killed", "run the same command again")
    shell.succeed(*words)
    assert files(bare) == files(made)
    shell.assert_no_leftover(bare)


@pytest.mark.parametrize(("workers", "who", "number"), CASES)
def test_a_stopped_verify_shards_changes_nothing(
    workers: int, who: str, number: signal.Signals, made: Path, shell: Shell, inject: Inject
) -> None:
    with unchanged(made):
        words = ["verify_shards", "--shards", made, "--level", "decode", "--workers", workers]

        def moment(job: Job) -> object:
            return job.children(WORKER) if workers > 1 else job.reads(made)

        assert_ended(stop(lambda: shell.begin(*words), moment, who, number), who, number)
        inject(f"{number.name} to the {who} of verify_shards")
        shell.succeed("verify_shards", "--shards", made)
    shell.assert_no_leftover(made)
