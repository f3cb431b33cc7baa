"""Freelight's side."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from freelight.benchmarks.sides.pictures import Part
from freelight.benchmarks.sides.settings import CROP, MEAN, STD, WORKERS
from freelight.pipeline import Lighting, Loader, RandAugment, RandomCrop, RandomResizedCrop, Transform
from freelight.shards import Dataset

DISTRIBUTIONS = ("freelight", "torch")
OFF = Lighting(mode="off")


def convert(dataset: str, parts: Sequence[Part], out: str) -> None:
    """Nothing: it loads the dataset itself."""


class Pairs(Loader):
    """Yields images and labels."""

    def __iter__(self) -> Iterator[Any]:
        """Yield an epoch's batches."""
        return ((batch.images, batch.labels) for batch in super().__iter__())


@contextmanager
def open_loader(folder: str, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of one epoch after another."""
    window = RandomCrop(size=CROP) if crop == "random" else RandomResizedCrop(size=CROP)
    if output == "uint8":
        transform = Transform(crop=window, mean="none", lighting=OFF, dtype="uint8")
    else:
        ops = (RandAugment(n=2, magnitude=9),) if output == "rand" else ()
        transform = Transform(crop=window, mean=MEAN, std=STD, lighting=OFF, ops=ops)
    with Pairs(Dataset(folder), "train", batch_size=batch, transform=transform, num_threads=WORKERS) as loader:
        yield loader
