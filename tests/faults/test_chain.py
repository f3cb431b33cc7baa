"""The documented chain on an object store that fails now and then, with a cache of a twentieth of the split.

Each command is typed as in docs/guides/stores-and-clusters.md. The run is the local one to the bit, so every sample
comes once an epoch; the processes of both ranks fetch each shard once an epoch; and the cache stays within its limit.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import Ended, Inject, Shell, assert_no_traceback
from runs import assert_same_run, metrics, training
from stores import MOTO, FaultyStore, Objects, find_rclone

from freelight.demo.drawing import draw_pictures
from freelight.shards import Dataset
from freelight.shards.dataset.ahead import AT_ONCE

pytest.importorskip("moto")
pytest.importorskip("s3fs")

URL = "s3://bucket/dataset"


class Watch:
    """The most bytes of shards that a cache held, whole or in progress."""

    def __init__(self, folder: Path) -> None:
        self.most = 0
        self._folder = folder
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.005):
            held = 0
            for path in self._folder.glob("*/*.tar*"):
                try:
                    held += path.stat().st_size
                except FileNotFoundError:
                    continue
            self.most = max(self.most, held)


@pytest.fixture(scope="module", params=["moto", pytest.param("rclone", marks=pytest.mark.peers)])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    """An empty bucket, by each of two servers."""
    command: tuple[str, ...] = MOTO
    if request.param == "rclone":
        rclone = find_rclone()
        if rclone is None:
            pytest.skip("there is no rclone, or one before 1.65, which cannot serve S3")
        command = (rclone, "serve", "s3", str(tmp_path_factory.mktemp("rclone")), "--addr", "127.0.0.1:{port}")
    objects = Objects(command)
    yield objects
    objects.close()


def test_the_documented_chain(store: FaultyStore, shell: Shell, inject: Inject, tmp_path: Path) -> None:
    """The cache holds four shards, and the window two; a batch of ten takes five, and one of evaluation 15."""

    def succeed(*words: object) -> Ended:
        ended = shell.succeed(*words)
        assert_no_traceback(ended)
        return ended

    pictures, local, far, cache = (tmp_path / name for name in ("pictures", "local", "far", "cache"))
    draw_pictures(pictures, train_per_class=34, val_per_class=6)
    store.plan_every("", http503=20, cut=50)
    words = ["freelight", "make-shards", "--images", pictures, "--out", URL]
    assert f"dataset {URL}" in succeed(*words, "--samples-per-shard", 4).stdout
    succeed("freelight", "compute-pca", "--shards", URL, "--quiet")
    assert "every byte is as it was written" in succeed("freelight", "verify-shards", "--shards", URL).stdout
    succeed("freelight", "preview", "--shards", URL, "--out", tmp_path / "preview.png")

    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in store.objects.get("dataset").items():
        (copy / name).write_bytes(content)
    windowed = [*training(copy, local)[5:], "--order", "windowed", "--window", "2%"]
    succeed("train", "--shards", copy, "--out", local, "--replicas", 2, *windowed)

    shards = Dataset(copy).manifest.splits["train"].shards
    split, largest = sum(shard.bytes for shard in shards), max(shard.bytes for shard in shards)
    limit = split // 20
    assert len(shards) == 86
    cached = ["--shards", URL, "--cache", cache, "--cache-bytes", limit]
    begun = store.served(r"train-.*\.tar")
    with Watch(cache) as watch:
        train = ["torchrun", "--nproc-per-node", 2, "-m", "freelight.train"]
        job = shell.begin(*train, *cached, "--out", far, *windowed)
        job.wait_until(lambda: len(metrics(far)) >= 15)
        store.die()
        said = job.stderr.read_text().count("follows in")
        inject("the store restarts while train reads")
        job.wait_until(lambda: job.stderr.read_text().count("follows in") > said)
        store.start()
        trained = job.end()
        gets, size = (now - then for now, then in zip(store.served(r"train-.*\.tar"), begun, strict=True))
        assert trained.returncode == 0, trained
        assert_no_traceback(trained)
        assert_same_run(far, local)
        best = ["--checkpoint", far / "best.pt"]
        evaluated = succeed("freelight", "evaluate", *best, *cached, "--views", 1, "--json")
        reported = succeed("freelight", "report", "--run", far, *cached, "--out", tmp_path / "report.html")
    errors = [line["val_top1"] for line in metrics(far) if "val_top1" in line]
    assert json.loads(evaluated.stdout)["networks"][0]["top1"] == min(errors)
    assert "val, ten views" in (tmp_path / "report.html").read_text()
    for ended in (trained, evaluated, reported):
        assert "too small for its readers" not in ended.stderr
    for fault in store.faults:
        inject(fault)
    print(json.dumps({"gets": gets, "bytes": size, "split": split, "most_in_cache": watch.most, "limit": limit}))
    print(json.dumps({"faults": len(store.faults), "cut": sum(fault.startswith("cut") for fault in store.faults)}))
    assert watch.most <= limit + largest
    lost = 2 * AT_ONCE * largest  # of both ranks, at the restart, at most
    assert size <= 2 * 1.02 * split + lost
    shell.assert_no_leftover(far, cache)
