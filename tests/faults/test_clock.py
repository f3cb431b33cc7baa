"""A clock that jumps back by an hour in the middle of a job: the results are those of a steady clock."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Inject, Shell, assert_no_traceback, files
from runs import assert_same_run, metrics, training

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
pytestmark = pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")


class Clock:
    """The clock of a shell's commands, which read it at least once a second.

    steady: whether CLOCK_MONOTONIC stays as it is, as when a real clock is set. libfaketime's semaphores and
    sleeps of threads then fail, so that jobs of several processes get both clocks jumping, which is worse than life.
    """

    def __init__(self, shell: Shell, path: Path, *, steady: bool) -> None:
        self.path = path
        self.set("+0")
        shell.environment |= {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_CACHE_DURATION": "1",
            **({"FAKETIME_DONT_FAKE_MONOTONIC": "1"} if steady else {}),
        }

    def set(self, offset: str) -> None:
        """Set the clock to the right time and an offset, such as -1h."""
        self.path.write_text(f"{offset}\n")


def test_train(
    made: Path,
    trained: Callable[[int], Path],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    """It jumps in the first epoch; the commands that read it again after that see files from the future."""
    clock, out = Clock(shell, tmp_path / "clock", steady=True), tmp_path / "run"
    job = shell.begin(*training(made, out))
    job.wait_until(lambda: len(metrics(out)) >= 3)
    clock.set("-1h")
    inject("the clock jumps back by an hour while train runs")
    ended = job.end()
    assert ended.returncode == 0, ended
    assert_no_traceback(ended)
    assert_same_run(out, trained(1))
    clock.set("-2h")
    inject("the clock is two hours back when train starts again")
    shell.succeed(*training(made, out))
    assert_same_run(out, trained(1))


@pytest.mark.parametrize("workers", [1, 2])
def test_make_shards_and_compute_pca(
    workers: int, images: Path, made: Path, shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    """Stopped and started again with an earlier clock too."""
    clock, out = Clock(shell, tmp_path / "clock", steady=False), tmp_path / "dataset"
    words = ["make_shards", "--images", images, "--out", out, "--samples-per-shard", 8, "--workers", workers]
    job = shell.begin(*words)
    job.wait_until(lambda: len(list(out.glob(".partial/*.record"))) >= 3)
    clock.set("-1h")
    inject("the clock jumps back by an hour while make_shards writes")
    time.sleep(0.1)
    job.process.terminate()
    job.end()
    clock.set("-2h")
    inject("the clock is another hour back when make_shards starts again")
    shell.succeed(*words)
    shell.succeed("compute_pca", "--shards", out, "--workers", workers)
    assert files(out) == files(made)
    shell.succeed("verify_shards", "--shards", out)
    shell.assert_no_leftover(out)
