"""compute_pca compared with decoding alone and with scikit-learn's IncrementalPCA."""

import io
from functools import partial
from pathlib import Path

import click
import numpy as np
from PIL import Image
from sklearn.decomposition import IncrementalPCA

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.memory import children, peak_memory_mb
from freelight.benchmarks.report import Floor, Report
from freelight.benchmarks.timing import Contender, Lap, interleave, one_core, timed
from freelight.shards import Dataset, Split, compute_statistics

DECODING, ONE, TWO, INCREMENTAL = "decoding", "compute_pca, 1 worker", "compute_pca, 2 workers", "IncrementalPCA loop"


@benchmark(
    "pca",
    examples=(
        "freelight benchmark pca --shards dataset",
        "freelight benchmark pca --shards dataset --split val --incremental 20",
    ),
)
@click.option("--shards", "folder", type=click.Path(path_type=Path), required=True, help="Dataset directory.")
@click.option("--split", default="train", show_default=True, help="Split to read.")
@click.option(
    "--incremental",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Images for the IncrementalPCA loop.",
)
def command(folder: Path, split: str, incremental: int, rounds: int) -> Report:
    """Measure compute_pca on the shards of a split.

    Runs these in turn on one core: decoding to numpy arrays with Pillow; compute_pca with one worker; and a simple loop
    of scikit-learn's IncrementalPCA, one image at a time, over the first images. Then runs compute_pca on two workers
    and measures their peak memory.
    """
    machine = machine_facts(("pillow", "numpy", "scikit-learn", "joblib"))
    dataset = Dataset(folder)
    opened = dataset.split(split)
    two = TwoWorkers(dataset, split)
    contenders = (
        Contender(name=DECODING, lap=partial(_pinned, partial(_decode, opened))),
        Contender(name=ONE, lap=partial(_pinned, partial(_compute, dataset, split, workers=1))),
        Contender(name=INCREMENTAL, lap=partial(_pinned, partial(_incremental, opened, incremental))),
        Contender(name=TWO, lap=two.lap),
    )
    timings = interleave(contenders, rounds=rounds)
    return Report(
        benchmark="pca",
        item="images",
        settings={"shards": folder, "split": split, "incremental": incremental},
        machine=machine,
        timings=timings,
        floors=(
            Floor(name=f"{ONE} / {DECODING}", value=timings.ratio(ONE, DECODING), at_least=0.6),
            Floor(name=f"{ONE} / {INCREMENTAL}", value=timings.ratio(ONE, INCREMENTAL), at_least=5),
            Floor(name="peak memory of a worker", value=two.peak_mb, unit="MB", at_most=400),
        ),
        notes=(f"{len(opened)} images of {dataset.image_size} pixels",),
    )


def _pinned(work: "partial[int]") -> Lap:
    with one_core():
        return timed(work)


def _decode(split: Split) -> int:
    for index in range(len(split)):
        np.asarray(Image.open(io.BytesIO(split.read(index)), formats=["JPEG"]))
    return len(split)


def _compute(dataset: Dataset, split: str, *, workers: int) -> int:
    return compute_statistics(dataset, split, workers=workers).images


def _incremental(split: Split, images: int) -> int:
    fitted = IncrementalPCA()
    indices = range(min(images, len(split)))
    for index in indices:
        fitted.partial_fit(np.asarray(Image.open(io.BytesIO(split.read(index)), formats=["JPEG"])).reshape(-1, 3))
    return len(indices)


class TwoWorkers:
    """compute_pca on two workers, which are kept between laps. peak_mb: peak memory of the larger worker."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        self.dataset = dataset
        self.split = split
        self.others = children()
        self.peak_mb = 0.0

    def lap(self) -> Lap:
        """Compute the statistics once."""
        lap = timed(partial(_compute, self.dataset, self.split, workers=2))
        self.peak_mb = max([self.peak_mb, *(peak_memory_mb(worker) for worker in children() - self.others)])
        return lap
