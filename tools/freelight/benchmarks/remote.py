"""The first epoch of a dataset in an object store, with a small cache, compared with a local one and other software."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.compare import ALL, OURS, Software, run_side, side_contender
from freelight.benchmarks.geometries import all_as_train, images_option
from freelight.benchmarks.loading import ratio_floor
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.peers import peers_option
from freelight.benchmarks.repeated import copy_shards
from freelight.benchmarks.report import Figure, Floor, Report
from freelight.benchmarks.sides.settings import CROPS, QUALITY, READERS, SIZE, WORKERS
from freelight.benchmarks.timing import Contender, Lap, interleave
from freelight.shards import Dataset, Rescaling, ShardSettings, make_shards

# 16,000 images, on one thread of a busy EPYC with two cores, medians of two epochs: 7.3 s of processor time from the
# local folder, 8.1 s from the store, and 0.2 s of the server. With two decoding threads, which take both cores, the
# ratio could be 0.88 at most.
BUCKET = "bucket"
CACHE = 0.25
"""Limit of the cache, share of the split. Ours holds a window of 10 % of the shards in it."""
SHARDS = 64
"""Of the dataset, about."""
LOCAL, REMOTE = "Freelight, local", "Freelight"


class Store:
    """A server of `object_store`. port: where it listens. process: its number."""

    def __init__(self, port: int, process: int) -> None:
        self.port = port
        self.process = process

    def get(self, path: str, first: int, count: int) -> float:
        """Read a part of an object on a connection of its own, and return the seconds it took."""
        begin = time.perf_counter()
        self._read(path, {"Range": f"bytes={first}-{first + count - 1}"})
        return time.perf_counter() - begin

    def counts(self) -> dict[str, int]:
        """Return the requests and bytes of objects since the last call."""
        found: dict[str, int] = json.loads(self._read("/-/counts", {}))
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used."""
        fields = Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _read(self, path: str, headers: dict[str, str]) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read()


@contextmanager
def serve_store(folder: Path, latency: float, rate: float) -> Iterator[Store]:
    """Start a server of FOLDER; latency: ms; rate: MB/s."""
    words = [sys.executable, "-m", "freelight.benchmarks.object_store", str(folder), str(latency), str(rate)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Store(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


@benchmark(
    "remote",
    examples=(
        "freelight benchmark remote --images PHOTOS",
        "freelight benchmark remote --images PHOTOS --latency 50 --rate 50 --record remote.json",
    ),
)
@images_option
@click.option("--copies", default=16, show_default=True, type=click.IntRange(min=1), help="Copies of each shard.")
@click.option("--latency", default=20.0, show_default=True, help="Time before the answer to a request, ms.")
@click.option("--rate", default=200.0, show_default=True, help="Rate of a connection, MB/s.")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per batch.")
@peers_option
def command(
    images: Path, copies: int, latency: float, rate: float, batch_size: int, peers: Path, rounds: int
) -> Report:
    """Measure the first epoch of a dataset in an object store, with a small cache.

    Makes squares of the images, and copies of the shards, 64 in all. A server of its own, with the latency and the
    rate, keeps them as s3://. Each contender opens the dataset with an empty cache of a quarter of it, loads one epoch
    as float32 on one thread or worker process, and ends: Freelight in the windowed order (10 %), from the store and
    from the local folder; LitData and MosaicML Streaming with their own formats; webdataset over HTTP,
    without a cache. The server and the connections use another core of the same machine.
    """
    machine = machine_facts((DALI_WHEEL, "torch", "numpy"))
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as temporary, ExitStack() as stack:
        root = Path(temporary)
        dataset = _make(images, copies, root)
        split = dataset.split("train").info
        size = sum(shard.bytes for shard in split.shards)
        store = stack.enter_context(serve_store(root / "store", latency, rate))
        shard = f"/{BUCKET}/ours/{split.shards[0].name}"
        measured = [store.get(shard, 0, 1) for _ in range(21)]
        whole = [store.get(shard, 0, split.shards[0].bytes) - median(measured) for _ in range(7)]
        fetched: dict[str, list[int]] = {}
        served: dict[str, list[float]] = {}

        def contend(name: str, one: Software, place: str) -> Contender:
            words = ("stream", place, f"http://127.0.0.1:{store.port}", root / "cache", round(CACHE * size))
            contender = side_contender(stack, name, one, peers, *words, CROPS["square"], batch_size, "float32")
            if contender.lap is None:
                return contender
            counts = fetched.setdefault(name, []), served.setdefault(name, [])
            return replace(contender, lap=_counting(contender.lap, store, *counts))

        contenders = [contend(LOCAL, OURS, str(dataset.folder)), contend(REMOTE, OURS, f"s3://{BUCKET}/ours")]
        for one in ALL[1:]:
            if one.streams and not one.why_absent(peers) and one.converts:
                run_side(one, peers, "convert", dataset.folder, root / "store" / BUCKET / one.side)
            if one.streams:
                contenders.append(contend(one.name, one, f"s3://{BUCKET}/{one.side if one.converts else 'ours'}"))
        timings = interleave(contenders, rounds=rounds)
        peers_of = [contender.name for contender in contenders[2:]]
        most = _cache_peak(store, root, size, batch_size, peers)
        largest = max(shard.bytes for shard in split.shards)
        return Report(
            benchmark="remote",
            item="images",
            settings={
                "images": images,
                "copies": copies,
                "latency ms": latency,
                "rate MB/s": rate,
                "batch size": batch_size,
                "threads": READERS,
            },
            machine=machine,
            timings=timings,
            floors=(
                ratio_floor(timings, REMOTE, LOCAL, 0.9),
                *(ratio_floor(timings, REMOTE, name, 1.0) for name in peers_of),
                Floor(
                    name="bytes fetched / bytes of the split", value=max(fetched[REMOTE]) / size, unit="x", at_most=1.02
                ),
                Floor(name="cache over its limit / largest shard", value=(most - CACHE * size) / largest, at_most=1.0),
            ),
            figures=(
                Figure(name="latency of the store", value=1000 * median(measured), unit="ms"),
                Figure(name="rate of one connection", value=split.shards[0].bytes / median(whole) / 1e6, unit="MB/s"),
                Figure(name="processor time of the store / time of an epoch", value=median(served[REMOTE])),
                *(
                    Figure(name=f"bytes fetched / bytes of the split: {name}", value=max(fetched[name]) / size)
                    for name in peers_of
                    if name in fetched
                ),
            ),
            notes=(f"{split.samples} samples in {len(split.shards)} shards, {size / 1e6:.0f} MB",),
        )


def _make(images: Path, copies: int, root: Path) -> Dataset:
    """Make the dataset in the store's folder."""
    source = all_as_train(images)
    samples = max(1, copies * len(source.splits["train"]) // SHARDS)
    settings = ShardSettings(rescaling=Rescaling(size=SIZE, quality=QUALITY), samples_per_shard=samples)
    make_shards(source, root / "one", settings, workers=WORKERS)
    return copy_shards(Dataset(root / "one"), "train", copies, root / "store" / BUCKET / "ours")


def _counting(
    lap: Callable[[], Lap], store: Store, bytes_fetched: list[int], processor_shares: list[float]
) -> Callable[[], Lap]:
    def counted() -> Lap:
        store.counts()
        before = store.cpu_seconds()
        found = lap()
        bytes_fetched.append(store.counts()["bytes"])
        processor_shares.append((store.cpu_seconds() - before) / found.seconds)
        return found

    return counted


def _cache_peak(store: Store, root: Path, size: int, batch_size: int, peers: Path) -> int:
    """Return the most bytes that our cache holds in an epoch."""
    words = (f"s3://{BUCKET}/ours", f"http://127.0.0.1:{store.port}", root / "cache", round(CACHE * size))
    found: Any = run_side(OURS, peers, "cache", *words, CROPS["square"], batch_size, "float32")
    shutil.rmtree(root / "cache", ignore_errors=True)
    return int(found)
