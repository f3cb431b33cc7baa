"""No rank outlives the others or the command, and no process waits for a dead one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from freelight.shards import Dataset

pytestmark = pytest.mark.slow

FREELIGHT = [sys.executable, "-m", "freelight"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SETTINGS = "--columns 2 --epochs 90 --set plateau_epochs=90 --set batch_size=4"
"""Far longer than these tests take."""
PATIENCE = 60
"""Seconds until the others must have ended."""


def ranks_of(command: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of the ranks that the command started, in their order."""
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_end(processes: list[int]) -> bool:
    end = time.monotonic() + PATIENCE
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, processes))


@pytest.fixture
def background() -> bool:
    """Whether the command ignores SIGINT, as one that a shell has put into the background."""
    return False


@pytest.fixture
def command(train: Any, tmp_path: Path, background: bool) -> Iterator[subprocess.Popen[str]]:
    """A run on two columns that has taken its first steps."""
    started = train.begin(tmp_path, SETTINGS, background=background)
    try:
        while not (tmp_path / "metrics.jsonl").exists():
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.05)
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        started.stderr.close()


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_rank_dies_the_command_ends_and_names_it(rank: int, command: subprocess.Popen[str]) -> None:
    ranks = ranks_of(command)
    assert len(ranks) == 2
    os.kill(ranks[rank], signal.SIGKILL)
    assert command.wait(PATIENCE) == 2
    assert all_end(ranks)
    last = command.stderr.read().splitlines()[-1]
    assert last.startswith(
        f"error: rank {rank} ended (process {rank} terminated with signal SIGKILL); run the same command"
    )


def test_when_a_rank_of_an_evaluation_dies_nothing_is_said_of_a_checkpoint(
    two_column_run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """An evaluation saves nothing to resume from."""
    words = [*FREELIGHT, "evaluate", "--columns", "2", "--checkpoint", two_column_run / "best.pt"]
    # A loaded machine finishes no pass over so many networks before the kill.
    words += [*["--checkpoint", two_column_run / "best.pt"] * 200, "--shards", dataset.folder]
    started = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while len(ranks := ranks_of(started)) < 2:
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.05)
        os.kill(ranks[1], signal.SIGKILL)
        assert started.wait(PATIENCE) == 2
        assert all_end(ranks)
        last = started.stderr.read().splitlines()[-1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        started.stderr.close()
    assert last == (
        "error: rank 1 ended (process 1 terminated with signal SIGKILL); "
        "run the same command again; an evaluation starts from the beginning"
    )


def interrupt(command: subprocess.Popen[str]) -> None:
    """Interrupt the whole process group, as a terminal does for Ctrl-C."""
    os.killpg(command.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("end", "background"),
    [
        (subprocess.Popen.kill, False),
        (subprocess.Popen.kill, True),
        (subprocess.Popen.terminate, False),
        (interrupt, False),
    ],
)
def test_when_the_command_is_ended_no_rank_stays(
    end: Callable[[subprocess.Popen[str]], None], command: subprocess.Popen[str]
) -> None:
    ranks = ranks_of(command)
    end(command)
    command.wait(PATIENCE)
    assert all_end(ranks), "an orphan holds a GPU, and may write over what the next run saves"
