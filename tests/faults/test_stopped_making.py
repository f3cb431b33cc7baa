"""make_shards whose parent or worker gets a signal: the same command then gives the same bytes."""

import random
import shutil
import signal
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from jobs import (
    WORKER,
    Inject,
    Job,
    MissedError,
    Shell,
    assert_no_traceback,
    assert_one_line,
    assert_stopped,
    files,
    stop,
)

Moment = Callable[[Path], bool]


def count(pattern: str) -> Callable[[Path], int]:
    return lambda out: len(list(out.glob(pattern)))


@pytest.fixture(scope="module")
def archives(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures in .tar.gz archives, which are staged in six segments."""
    folder = tmp_path_factory.mktemp("packed")
    for split, parts in (("train", 5), ("val", 1)):
        pictures = sorted((images / split).rglob("*.JPEG"))
        for part in range(parts):
            with tarfile.open(folder / f"{split}_images_{part}.tar.gz", "w:gz", compresslevel=1) as tar:
                for path in pictures[part::parts]:
                    tar.add(path, f"{path.stem}_{path.parent.name}.JPEG")
    return folder


def make(source: Path, out: Path, workers: int) -> list[object]:
    words = ["make_shards", "--images", source, "--out", out, "--workers", workers]
    return [*words, "--size", 96, "--samples-per-shard", 8]


@pytest.fixture(scope="module")
def whole(images: Path, archives: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, dict[str, bytes]]:
    """The files that each source gives when nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    shell, found = Shell(folder / "shell"), {}
    for source in (images, archives):
        shell.succeed(*make(source, folder / source.name, 2))
        found[source] = files(folder / source.name)
    return found


def number_of(pattern: str, at_least: int) -> Moment:
    return lambda out: len(list(out.glob(pattern))) >= at_least


def moment_of(stage: str, rng: random.Random, shards: int) -> Moment:
    """Return a moment within a stage of the work, drawn anew for every test."""
    if stage == "staging":
        return number_of(".partial/staged/*.json", rng.randrange(1, 5))
    if stage == "writing":
        return number_of(".partial/*.record", rng.randrange(1, shards - 4))
    return number_of(".partial/*.record", shards)


def begin_anew(shell: Shell, source: Path, out: Path, workers: int) -> Job:
    shutil.rmtree(out, ignore_errors=True)
    return shell.begin(*make(source, out, workers))


@pytest.mark.parametrize("stage", ["staging", "writing", "finishing"])
@pytest.mark.parametrize(
    ("workers", "who", "number"),
    [
        (1, "command", signal.SIGKILL),
        (1, "command", signal.SIGTERM),
        (1, "group", signal.SIGINT),
        (2, "command", signal.SIGKILL),
        (2, "command", signal.SIGTERM),
        (2, "command", signal.SIGINT),
        (2, "group", signal.SIGINT),
    ],
)
def test_a_signal_leaves_no_process_and_the_same_command_gives_the_same_bytes(
    workers: int,
    who: str,
    number: signal.Signals,
    stage: str,
    images: Path,
    archives: Path,
    whole: dict[Path, dict[str, bytes]],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    rng = random.Random(f"{who}{number}{workers}{stage}")
    source, out = archives if stage == "staging" else images, tmp_path / "out"
    moment = moment_of(stage, rng, sum(name.endswith(".tar") for name in whole[source]))
    pause = rng.uniform(0, 0.005)

    def reached(job: Job) -> bool:
        return moment(out) and time.sleep(pause) is None

    ended = stop(lambda: begin_anew(shell, source, out, workers), reached, who, number)
    inject(f"{number.name} to the {who} of make_shards while {stage}")
    assert_stopped(ended, number)
    shell.succeed(*make(source, out, 2))
    assert files(out) == whole[source]
    shell.assert_no_leftover(out)


@pytest.mark.parametrize("stage", ["staging", "writing"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_ends_the_command_and_the_same_command_gives_the_same_bytes(
    number: signal.Signals,
    stage: str,
    images: Path,
    archives: Path,
    whole: dict[Path, dict[str, bytes]],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    rng = random.Random(f"{number}{stage}")
    source, out = archives if stage == "staging" else images, tmp_path / "out"
    moment = moment_of(stage, rng, sum(name.endswith(".tar") for name in whole[source]))
    ended = stop(lambda: begin_anew(shell, source, out, 2), lambda job: moment(out), "worker", number)
    inject(f"{number.name} to a worker of make_shards while {stage}")
    assert_one_line(ended, "a worker process was killed", "run the same command again")
    shell.succeed(*make(source, out, 1))
    assert files(out) == whole[source]
    shell.assert_no_leftover(out)


def test_ctrl_c_is_left_to_the_command(
    images: Path, whole: dict[Path, dict[str, bytes]], shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    """A worker ignores SIGINT from its start, before it can say so itself."""
    job = shell.begin(*make(images, tmp_path / "out", 2))
    job.wait_until(lambda: job.children(WORKER))
    with suppress(MissedError, ProcessLookupError):  # the worker ended
        for _ in range(100):
            job.hurt("worker", signal.SIGINT)
            time.sleep(0.005)
    inject("SIGINT to a worker of make_shards from its start")
    ended = job.end()
    assert ended.returncode == 0, ended
    assert_no_traceback(ended)
    assert files(tmp_path / "out") == whole[images]
