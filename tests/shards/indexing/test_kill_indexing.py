"""After SIGKILL at any moment, the same command finishes the index with the same bytes, on any number of workers."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from foreign_tars import sample, write_tars
from making import files

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[3] / "tools" / "index_shards"


def command(tars: Path, out: Path, workers: int) -> list[str]:
    pattern = f"train={tars}/t-{{0000..0039}}.tar"
    return [sys.executable, str(TOOL), "--split", pattern, "--out", str(out), "--workers", str(workers)]


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 tars of 200 samples: enough that kills come while they are indexed."""
    folder = tmp_path_factory.mktemp("many") / "tars"
    few = [sample(number) for number in range(50)]
    samples = [[(f"{n}-{name}", data) for name, data in few[n % len(few)]] for n in range(40 * 200)]
    write_tars(folder, "t", samples, 200)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(workers: int, tars: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    begin = time.monotonic()
    subprocess.run(command(tars, whole, 1), check=True, capture_output=True)
    length = time.monotonic() - begin
    rng = random.Random(workers)
    kills = 0
    for _ in range(8):
        job = subprocess.Popen(
            command(tars, out, workers), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (out / ".partial" / "lock").exists() and job.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, length / 8))
        if job.poll() is None and not (out / "dataset.json").exists():
            os.killpg(job.pid, signal.SIGKILL)
            kills += 1
        job.wait()
    assert kills > 2
    done = [out / f"{path.stem}.idx" for path in (out / ".partial").glob("*.record")]
    times = [path.stat().st_mtime_ns for path in done]
    subprocess.run(command(tars, out, workers), check=True, capture_output=True)
    assert files(out) == files(whole)
    assert not (out / ".partial").exists()
    assert [path.stat().st_mtime_ns for path in done] == times, "a finished tar was indexed again"
