"""Datasets of each geometry made from the same photographs, and what ImageNet would take in each."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from freelight.benchmarks.timing import Contender, Lap, interleave, timed
from freelight.shards import Dataset, FreelightError, Rescaling, ShardSettings, Source, list_images, make_shards

TRAIN_AND_VAL = 1_281_167 + 50_000
"""Images of ImageNet."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How pictures are kept. is_compared: whether the other software is measured on it too. use: what it is for."""

    rescaling: Rescaling
    is_compared: bool
    use: str


images_option = click.option(
    "--images", type=click.Path(path_type=Path), required=True, help="Images, as for make_shards --images."
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Maximum number of images, chosen with a fixed seed. [default: all]"
)
"""The arguments of `all_as_train`."""

GEOMETRIES = {
    "square 256": Geometry(
        rescaling=Rescaling(geometry="square", size=256),
        is_compared=True,
        use="AlexNet and every recipe with random crops of 224 from 256",
    ),
    "shorter 256": Geometry(
        rescaling=Rescaling(geometry="shorter", size=256),
        is_compared=True,
        use="random resized crops at up to 224, tested at 224 of 256",
    ),
    "longer 500": Geometry(
        rescaling=Rescaling(geometry="longer", size=500),
        is_compared=False,
        use="random resized crops at up to 320; FFCV's usual size",
    ),
    "original": Geometry(
        rescaling=Rescaling(geometry="original"),
        is_compared=True,
        use="any crop and test size; the files' own bytes",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A dataset and what it took. rate: images/s of make_shards on `workers` processes."""

    folder: Path
    samples: int
    bytes: int
    rate: float
    workers: int

    @property
    def imagenet_gb(self) -> float:
        """Size of ImageNet's shards at this size per sample, GB."""
        return self.bytes / self.samples * TRAIN_AND_VAL / 1e9

    @property
    def imagenet_hours(self) -> float:
        """Time to make them at this rate, hours."""
        return TRAIN_AND_VAL / self.rate / 3600

    def describe(self) -> str:
        """Return size and speed in one line."""
        return (
            f"{self.samples} samples of {self.bytes / self.samples / 1000:.1f} kB in the shards, made at "
            f"{self.rate:.0f} images/s by {self.workers} workers"
        )


def all_as_train(images: Path, limit: int | None = None) -> Source:
    """List all splits of `images` as train, or `limit` of their images, always the same ones."""
    listed = list_images(images)
    if not isinstance(listed, Source):
        raise FreelightError(f"`images` {images} can only be read in order; give a folder or plain tars")
    pictures = [image for split in listed.splits.values() for image in split]
    kept = np.random.default_rng(0).permutation(len(pictures))[:limit]
    return replace(listed, splits={"train": [pictures[index] for index in sorted(kept)]})


def make_datasets(images: Path, out: Path) -> dict[str, Made]:
    """Make a dataset of each geometry under `out` from all splits of `images` as train.

    A first pass, not measured, starts the workers and reads the files into the page cache.
    """
    source = all_as_train(images)
    workers = len(os.sched_getaffinity(0))

    def make(name: str) -> Lap:
        shutil.rmtree(out / name, ignore_errors=True)
        settings = ShardSettings(rescaling=GEOMETRIES[name].rescaling)
        return timed(lambda: make_shards(source, out / name, settings, workers=workers).splits["train"].samples)

    timings = interleave([Contender(name=name, lap=partial(make, name)) for name in GEOMETRIES], rounds=1)
    made = {}
    for name, (lap,) in timings.laps.items():
        shards = Dataset(out / name).split("train").info.shards
        made[name] = Made(
            folder=out / name,
            samples=lap.items,
            bytes=sum(shard.bytes for shard in shards),
            rate=lap.rate,
            workers=workers,
        )
    return made


def geometry_rows(made: Mapping[str, Made], rates: Mapping[str, Sequence[float | None]]) -> str:
    """Return the table of docs/geometries.md. rates: images/s of the loader as uint8 and as float32, by geometry."""
    samples, workers = max(one.samples for one in made.values()), max(one.workers for one in made.values())
    rows = [
        "| geometry | ImageNet, GB | hours to make | loader, uint8 | loader, float32 | for |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in made.items():
        speeds = ("-" if rate is None else f"{rate:,.0f}" for rate in rates[name])
        cells = (name, f"{one.imagenet_gb:.0f}", f"{one.imagenet_hours:.1f}", *speeds, GEOMETRIES[name].use)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [f"For {TRAIN_AND_VAL:,} images, calculated from {samples:,}; {workers} workers make them:", "", *rows]
    )
