"""A Dask cluster gives the same bytes as this machine's processes, even if it loses a worker."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from making import files

from freelight.commands.make_shards import command
from freelight.demo.drawing import draw_pictures
from freelight.shards import Dataset, FreelightError, compute_statistics
from freelight.shards.base import executor, run_tasks

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"


def make(images: Path, out: Path, *more: str) -> list[str]:
    options = ["--images", str(images), "--out", str(out), "--samples-per-shard", "8", "--size", "64"]
    return [sys.executable, str(TOOL), *options, *more]


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.05)


class Cluster:
    """A scheduler and two workers, each in its own process, on loopback."""

    def __init__(self, folder: Path) -> None:
        file = folder / "scheduler.json"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        worker = [
            "distributed.cli.dask_worker",
            "--host",
            "127.0.0.1",
            "--no-nanny",
            "--nthreads",
            "1",
            "--no-dashboard",
        ]
        start = [sys.executable, "-m"]
        common = ["--scheduler-file", str(file)]
        self.processes = [subprocess.Popen([*start, *scheduler, *common], **quiet)]  # type: ignore[call-overload]
        wait_for(file)
        self.workers = [subprocess.Popen([*start, *worker, *common], **quiet) for _ in range(2)]  # type: ignore[call-overload]
        self.processes += self.workers
        self.address = json.loads(file.read_text())["address"]
        count = "import distributed, sys; c = distributed.Client(sys.argv[1]); c.wait_for_workers(2, timeout=60)"
        subprocess.run([sys.executable, "-c", count, self.address], check=True, capture_output=True)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    (tmp_path / "cluster").mkdir()
    running = Cluster(tmp_path / "cluster")
    yield running
    running.stop()


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(cluster: Cluster, tmp_path: Path) -> None:
    images = tmp_path / "pictures"
    draw_pictures(images, train_per_class=40, val_per_class=8)
    subprocess.run(make(images, tmp_path / "local"), check=True, capture_output=True)
    out = tmp_path / "out"
    job = subprocess.Popen(
        make(images, out, "--cluster", cluster.address), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while len(list((out / ".partial").glob("*.record"))) < 4:
        assert job.poll() is None, job.stdout.read()  # type: ignore[union-attr]
        time.sleep(0.005)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    assert not (out / "dataset.json").exists(), "the kill came too late"
    text, _ = job.communicate(timeout=120)
    assert job.returncode == 0, text
    assert files(out) == files(tmp_path / "local")


def test_a_cluster_that_is_not_there_is_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "CLUSTER_TIMEOUT", 0.5)
    words = make(pictures, tmp_path / "out", "--cluster", "tcp://127.0.0.1:9")
    result = CliRunner().invoke(command, words[2:])
    assert result.exit_code == 2
    assert re.search(r"error: --cluster tcp://127\.0\.0\.1:9: no Dask scheduler answers there", result.stderr)
    assert isinstance(result.exception, SystemExit), "no traceback"


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True], ids=["from the start", "while tasks run"])
def test_a_scheduler_without_workers_is_waited_for_aloud_and_not_for_ever(
    begun: bool, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executor, "WORKERS_NOTICE", 1)
    monkeypatch.setattr(executor, "WORKERS_TIMEOUT", 3)
    results = run_tasks(time.sleep, [0.2] * 200, workers=1, cluster=cluster.address)
    if begun:
        next(results)
    for worker in cluster.workers:
        worker.kill()
        worker.wait()
    message = rf"`cluster` {cluster.address} has had no workers for 3 s; start some: dask worker {cluster.address}"
    with pytest.raises(FreelightError, match=message):
        list(results)
    assert f"waiting for workers of the Dask scheduler {cluster.address}; start some" in caplog.text


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_an_error(cluster: Cluster) -> None:
    results = run_tasks(time.sleep, [0.2] * 200, workers=1, cluster=cluster.address)
    next(results)
    cluster.processes[0].kill()
    with pytest.raises(FreelightError, match=r"the connection to the Dask scheduler is lost; run the same command"):
        list(results)


@pytest.mark.slow
def test_a_cluster_computes_the_same_statistics(cluster: Cluster, dataset: Dataset) -> None:
    on_cluster = compute_statistics(dataset, cluster=cluster.address)
    for name, value in vars(compute_statistics(dataset)).items():
        np.testing.assert_array_equal(getattr(on_cluster, name), value)
