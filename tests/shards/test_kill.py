"""After SIGKILL at any moment, the same command finishes the job with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from making import files

from freelight.demo.drawing import draw_pictures

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"


def command(images: Path, out: Path, workers: int) -> list[str]:
    options = {"--images": images, "--out": out, "--workers": workers, "--samples-per-shard": 16}
    return [sys.executable, str(TOOL), *(str(word) for option in options.items() for word in option)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    draw_pictures(folder, train_per_class=24, val_per_class=8)
    return folder


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a job that was not stopped."""
    out = tmp_path_factory.mktemp("whole") / "dataset"
    subprocess.run(command(images, out, 1), check=True, capture_output=True)
    return files(out)


def kill_when(moment: Callable[[Path], bool], start: list[str], out: Path) -> None:
    """Run `start` and kill it, with the workers it started, as soon as `moment(out)`; fail if it ends before."""
    job = subprocess.Popen(start, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not moment(out):
            assert job.poll() is None, "the job ended before the moment came"
            time.sleep(0.0005)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def exists(name: str) -> Callable[[Path], bool]:
    return lambda out: (out / name).exists()


def records(count: int) -> Callable[[Path], bool]:
    return lambda out: len(list((out / ".partial").glob("*.record"))) >= count


MOMENTS = {
    "folder-made": exists(".partial"),
    "first-shard-begun": lambda out: bool(list(out.glob("train-000000.tar.*.tmp"))),
    "first-shard-named": exists("train-000000.tar"),
    "two-records": records(2),
    "nine-records": records(9),
}
"""In order of time: 16 shards of train, 5 of val."""

LAST_MOMENTS = {
    "last-record": records(21),
    "tables-begun": exists("train.samples.npy"),
    "manifest-named": exists("dataset.json"),
}
"""These follow each other within milliseconds, so a kill may come at the next one."""


def test_killed_at_one_moment_after_another_it_ends_with_the_same_bytes(
    images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """One folder, eight kills, each at a later moment; shards finished before a kill are not made again."""
    out = tmp_path / "out"
    for name, moment in (MOMENTS | LAST_MOMENTS).items():
        finished = {out / f"{path.stem}.tar" for path in (out / ".partial").glob("*.record")}
        written = {path: path.stat().st_mtime_ns for path in finished}
        kill_when(moment, command(images, out, 1), out)
        assert name in LAST_MOMENTS or not (out / "dataset.json").exists(), f"{name}: the kill came too late"
        assert {path: path.stat().st_mtime_ns for path in finished} == written, "a finished shard was made again"
    subprocess.run(command(images, out, 1), check=True, capture_output=True)
    assert files(out) == whole
    assert not (out / ".partial").exists()


@pytest.mark.parametrize("moment", ["first-shard-begun", "two-records", "nine-records"])
def test_two_workers_killed_once_and_one_worker_after_them_end_with_the_same_bytes(
    moment: str, images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kill_when(MOMENTS[moment], command(images, out, 2), out)
    assert not (out / "dataset.json").exists()
    subprocess.run(command(images, out, 1), check=True, capture_output=True)
    assert files(out) == whole


@pytest.mark.parametrize("geometry", ["shorter", "longer", "original"])
def test_images_kept_whole_are_killed_once_and_end_with_the_same_bytes(
    geometry: str, images: Path, tmp_path: Path
) -> None:
    kept = ["--geometry", geometry]
    kill_when(records(9), [*command(images, tmp_path / "out", 2), *kept], tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()
    for out, workers in (("out", 1), ("whole", 2)):
        subprocess.run([*command(images, tmp_path / out, workers), *kept], check=True, capture_output=True)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_killed_at_20_random_moments_it_ends_with_the_same_bytes(
    images: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Each kill comes at a random time while shards are written; every start continues with the same folder."""
    out = tmp_path / "out"
    rng = random.Random(0)
    kills = 0
    while kills < 20:
        words = command(images, out, 1 + kills % 2)
        job = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (out / ".partial" / "lock").exists() and job.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.6))
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            kills += 1
        job.wait()
        if (out / "dataset.json").exists():  # finished before all kills: start again
            subprocess.run(command(images, out, 1), check=True, capture_output=True)
            assert files(out) == whole
            shutil.rmtree(out)
    subprocess.run(command(images, out, 1), check=True, capture_output=True)
    assert files(out) == whole
