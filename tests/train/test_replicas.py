"""Evaluation on several processes: each sample once, the bits of one process, and an end that can be understood."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError
from freelight.train.evaluation import Processes
from freelight.train.evaluation.rounds import deal_batches, gaps, join_runs
from freelight.train.inspection import Extraction

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def test_batches_are_whole_and_dealt_to_the_replicas_in_order() -> None:
    assert deal_batches([range(20)], 7, 2) == [[range(14)], [range(14, 20)]]
    assert deal_batches([range(7), range(14, 20)], 7, 1) == [[range(7), range(14, 20)]]
    assert deal_batches([range(6)], 7, 3) == [[range(6)], [], []], "a replica may have none"
    for replicas in range(1, 9):
        runs = [run for dealt in deal_batches([range(3, 40), range(47, 61)], 7, replicas) for run in dealt]
        assert [sample for run in runs for sample in run] == [*range(3, 40), *range(47, 61)]
        assert all((run.start - first) % 7 == 0 for run in runs for first in (3, 47) if run.start in range(first, 40))


def test_runs_join_and_leave_gaps() -> None:
    assert join_runs([range(8, 9), range(0), range(4, 6), range(3), range(6, 8)]) == [range(3), range(4, 9)]
    assert gaps([range(4, 9), range(3)], 12) == [range(3, 4), range(9, 12)]
    assert (gaps([], 3), gaps([range(3)], 3)) == ([range(3)], [])


def extraction(run: Path, dataset: Dataset, folder: Path, **changes: Any) -> Extraction:
    wanted: Any = {"features": [("train", "fc7")], "batch_size": 4, **changes}
    return Extraction(checkpoint=run / "last.pt", dataset=dataset, folder=folder, **wanted)


def vectors(folder: Path) -> bytes:
    return (folder / "train.fc7.npy").read_bytes()


def signal_parent(counts: Iterable[int], total: int) -> Iterator[int]:
    """Send SIGINT to the starting process after the third batch, as Ctrl-C does, and wait until it is passed on."""
    for number, count in enumerate(counts):
        yield count
        if number == 3:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(2)


def kill_self(counts: Iterable[int], total: int) -> Iterator[int]:
    for count in counts:
        yield count
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_other_processes_go_on_to_the_same_bits(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """60 samples are 15 batches: 8 for one of 2 replicas and 7 for the other, so what is done are two runs."""
    assert extraction(run, dataset, tmp_path / "whole").run(Processes())
    with pytest.raises(SystemExit) as stopped:
        extraction(run, dataset, tmp_path / "part", watch=signal_parent).run(Processes(replicas=2))
    assert stopped.value.code == 128 + signal.SIGINT
    assert not (tmp_path / "part" / "train.fc7.npy").exists()
    note = (tmp_path / "part" / "train.fc7.json").read_text()
    assert '"further": [[32, ' in note, "the second replica's first sample"
    assert extraction(run, dataset, tmp_path / "part").run(Processes(replicas=2, columns=2))
    assert vectors(tmp_path / "part") == vectors(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_is_one_line(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    message = r"^rank 0 ended \(.*SIGKILL\); run the same command again; extracted features are kept$"
    with pytest.raises(FreelightError, match=message):
        extraction(run, dataset, tmp_path, watch=kill_self).run(Processes(replicas=2))


def shown_on_a_terminal(*words: object) -> str:
    """Return what `freelight` writes to a terminal as its standard error."""
    terminal, its_end = pty.openpty()
    program = [sys.executable, "-m", "freelight", *map(str, words)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=its_end) as process:
        os.close(its_end)
        shown = b""
        with suppress(OSError):  # EIO: all processes have closed it
            while part := os.read(terminal, 4096):
                shown += part
    os.close(terminal)
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.mark.slow
def test_quiet_evaluation_on_several_processes_shows_no_progress(run: Path, dataset: Dataset) -> None:
    """The processes that it starts do not know the options."""
    words = ["evaluate", "--checkpoint", run / "last.pt", "--shards", dataset.folder, "--replicas", 2, "--views", 1]
    assert "images of val" in shown_on_a_terminal(*words)
    assert shown_on_a_terminal(*words, "--quiet") == ""


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["evaluate", "find_similar", "report"])
def test_the_commands_say_and_write_the_same_on_replicas_and_under_torchrun(
    tool: str, typed: Any, run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """Two replicas of one process, then two of two columns, which torchrun starts."""
    found = []
    for name, prefix, processes in (
        ("one", [], []),
        ("two", [], ["--replicas", "2"]),
        ("four", [*TORCHRUN, "4", "--"], ["--replicas", "2", "--columns", "2"]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        words = {
            "evaluate": ["--checkpoint", run / "last.pt", "--predictions", folder / "predictions.npz"],
            "find_similar": ["--checkpoint", run / "last.pt", "--features", folder, "--panel", folder / "panel.png"],
            "report": ["--run", run, "--features", folder, "--out", folder / "report.html"],
        }[tool]
        batches = ["--batch-size", "7"] if tool == "evaluate" else []
        result = typed(tool, *words, "--shards", dataset.folder, *batches, *processes, prefix=prefix)
        assert result.returncode == 0, result.stderr
        found.append((folder, result.stdout))
    for folder, printed in found[1:]:
        assert len(printed.splitlines()) == len(found[0][1].splitlines()), "one process alone reports"
        for path in found[0][0].iterdir():
            if path.suffix == ".npz":
                one, other = np.load(path), np.load(folder / path.name)
                np.testing.assert_array_equal(one["probabilities"], other["probabilities"])
            else:
                assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
