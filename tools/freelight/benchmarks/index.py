"""index_shards over a million samples: links to real shards, with files in the page cache."""

import itertools
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import click

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.memory import children, peak_memory_mb
from freelight.benchmarks.report import Floor, Report
from freelight.benchmarks.timing import Contender, Lap, interleave, timed
from freelight.shards import Dataset, Split, index_shards, list_tars

NAME, MILLION = "index_shards, check crc", 1_000_000


@benchmark(
    "index",
    examples=(
        "freelight benchmark index --shards dataset",
        "freelight benchmark index --shards dataset --samples 100000 --rounds 1",
    ),
)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="Dataset directory to link shards of.")
@click.option("--samples", default=MILLION, show_default=True, type=click.IntRange(min=1), help="Samples to index.")
def command(shards: Path, samples: int, rounds: int) -> Report:
    """Measure index_shards on existing tars.

    Links the shards of train again and again, until they have --samples samples, and indexes the links with the default
    check, on a worker per core.
    """
    machine = machine_facts(("numpy", "joblib"))
    workers = len(os.sched_getaffinity(0))
    split = Dataset(shards).split("train")
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        tars = link_tars(split, samples, Path(folder, "tars"))
        indexing = Indexing(tars, Path(folder, "dataset"), workers)
        timings = interleave([Contender(name=NAME, lap=indexing.lap)], rounds=rounds)
    rate = timings.rate(NAME) or 0
    return Report(
        benchmark="index",
        item="samples",
        settings={"shards": shards, "samples": samples, "workers": workers},
        machine=machine,
        timings=timings,
        floors=(
            Floor(name="a million samples", value=MILLION / rate, unit="s", at_most=60),
            Floor(name="peak memory of all processes", value=indexing.peak_mb, unit="MB", at_most=500),
        ),
        notes=(f"{split.samples['length'].mean() / 1000:.1f} kB per JPEG, {len(split.samples)} different ones",),
    )


def link_tars(split: Split, samples: int, folder: Path) -> Path:
    """Link the shards of `split` in `folder`, again and again, until they have at least `samples` samples."""
    folder.mkdir()
    linked = 0
    for number, shard in enumerate(itertools.cycle(split.info.shards)):
        if linked >= samples:
            break
        (folder / f"train-{number:06d}.tar").symlink_to((split.folder / shard.name).absolute())
        linked += shard.samples
    return folder


class Indexing:
    """index_shards on workers that are kept between laps. peak_mb: the sum of the peaks of all processes."""

    def __init__(self, tars: Path, out: Path, workers: int) -> None:
        self.source = list_tars([f"train={tars}/train-*.tar"])
        self.out = out
        self.workers = workers
        self.others = children()
        self.peak_mb = 0.0

    def lap(self) -> Lap:
        """Index all tars once."""
        shutil.rmtree(self.out, ignore_errors=True)
        index = partial(index_shards, self.source, self.out, workers=self.workers, max_rejected=0)
        lap = timed(lambda: index().splits["train"].samples)
        processes = {os.getpid(), *(children() - self.others)}
        self.peak_mb = max(self.peak_mb, sum(map(peak_memory_mb, processes)))
        return lap
