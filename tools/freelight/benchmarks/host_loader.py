"""The loader's host cost: processor time of its main thread, its reading thread and its process."""

import os
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch

from freelight.benchmarks.device import CPU, threads_for, timed_on
from freelight.benchmarks.loader_graphs import own_graph, read_jpegs
from freelight.benchmarks.loading import Part
from freelight.benchmarks.repeated import repeat_samples
from freelight.benchmarks.report import Figure, Floor
from freelight.benchmarks.timing import Contender, Lap, interleave
from freelight.pipeline import Loader, Transform, draw_epoch
from freelight.shards import Dataset, Statistics

LOADER, GRAPH, READING = "loader", "its graph over JPEGs in memory", "pread and crc32"
BY_IMAGE = "the graph, fed by image"
"""As DALI's examples feed it: an array for each JPEG."""
EPOCH = 2048
"""Images of an epoch, at least, so that its start counts little."""
BATCH = 128
"""Images that the limits are for, of about 20 kB each."""


def measure_loader_host(shards: Path, *, batch_size: int, device: torch.device, rounds: int) -> Part:
    """Measure the loader's threads on `train`, which needs statistics."""
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        dataset = Dataset(shards)
        samples = max(EPOCH, len(dataset.split("train")))
        return _measure(repeat_samples(dataset, "train", samples, Path(folder, "long")), batch_size, device, rounds)


def _measure(dataset: Dataset, batch_size: int, device: torch.device, rounds: int) -> Part:
    transform, statistics = Transform(), Statistics.load(dataset.folder)
    loader = Loader(
        dataset,
        "train",
        batch_size=batch_size,
        transform=transform,
        statistics=statistics,
        device=device,
        num_threads=threads_for(device),
    )
    jpegs = read_jpegs(dataset)
    costs = {
        LOADER: HostCost(lambda: (batch.images for batch in loader), device, batch_size),
        **{
            name: HostCost(
                own_graph(transform, dataset, jpegs, statistics, batch_size, device, by_image=name == BY_IMAGE),
                device,
                batch_size,
            )
            for name in (GRAPH, BY_IMAGE)
        },
        READING: HostCost(lambda: _read_plainly(dataset), CPU, batch_size),
    }
    contenders = [Contender(name=name, lap=cost.lap) for name, cost in costs.items()]
    timings = interleave(contenders, rounds=rounds)
    loading, graph, by_image, reading = costs.values()
    batch = f"a batch of {BATCH}"
    return Part(
        timings=timings,
        floors=(
            Floor(name=f"main thread, {batch}", value=loading.main, unit="ms", at_most=1.2),
            Floor(name=f"reading thread, {batch}", value=loading.reader, unit="ms", at_most=2.0),
            Floor(name=f"main thread, {LOADER} / {BY_IMAGE}", value=loading.main / by_image.main, at_most=1.0),
        ),
        figures=(
            Figure(name=f"process, {batch}", value=loading.process, unit="ms"),
            *(
                Figure(name=f"process, {LOADER} / {name}", value=loading.process / cost.process)
                for name, cost in ((GRAPH, graph), (BY_IMAGE, by_image))
            ),
            Figure(name=f"main thread, {LOADER} / {GRAPH}", value=loading.main / graph.main),
            Figure(name=f"reading thread / {READING}", value=loading.reader / reading.main),
        ),
        notes=(f"{len(jpegs)} JPEGs of {sum(map(len, jpegs)) / len(jpegs) / 1000:.1f} kB on average",),
    )


class HostCost:
    """Processor time of an epoch of batches. main, reader, process: medians of the rounds, ms for 128 images."""

    def __init__(self, epoch: Callable[[], Iterable[Any]], device: torch.device, batch_size: int) -> None:
        self._epoch = epoch
        self._device = device
        self._batch_size = batch_size
        self._laps: list[dict[str, float]] = []

    @property
    def main(self) -> float:
        """Of the thread that iterates."""
        return self._median("main")

    @property
    def reader(self) -> float:
        """Of the loader's threads that read."""
        return self._median("reader")

    @property
    def process(self) -> float:
        """Of the whole process, DALI's threads included."""
        return self._median("process")

    def lap(self) -> Lap:
        """Iterate one epoch."""
        before = _clocks()
        lap = timed_on(self._device, lambda: sum(len(images) for images in self._epoch()), batch_size=self._batch_size)
        spent = {name: seconds - before.get(name, 0) for name, seconds in _clocks().items()}
        self._laps.append({name: 1000 * BATCH / lap.items * seconds for name, seconds in spent.items()})
        return lap

    def _median(self, name: str) -> float:
        return median(lap[name] for lap in self._laps[1:])  # the first lap warms up


def _clocks() -> dict[str, float]:
    """Return the processor time that this thread, the threads that read, and the process have used, seconds."""
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("freelight-read")]
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in readers if thread.ident is not None]
    return {
        "main": time.thread_time(),
        "reader": sum(map(time.clock_gettime, clocks)),
        "process": time.process_time(),
    }


def _read_plainly(dataset: Dataset) -> Iterator[list[int]]:
    """Read the JPEGs of train one by one, in the order of the loader's first epoch; yield their checksums."""
    split = dataset.split("train")
    rows = split.samples[draw_epoch(len(split), seed=0, epoch=0).order]
    with ExitStack() as stack:
        files = [stack.enter_context((dataset.folder / shard.name).open("rb")) for shard in split.info.shards]
        yield [
            zlib.crc32(os.pread(files[shard].fileno(), length, offset))
            for shard, offset, length in rows[["shard", "offset", "length"]].tolist()
        ]
