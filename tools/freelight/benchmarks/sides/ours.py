"""Freelight's side."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from freelight.benchmarks.sides.pictures import Part
from freelight.benchmarks.sides.settings import CROP, MEAN, READERS, STD, WORKERS
from freelight.pipeline import Lighting, Loader, RandAugment, RandomCrop, RandomResizedCrop, Transform
from freelight.shards import Dataset

DISTRIBUTIONS = ("torch",)
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
    yield from _loaders(Dataset(folder), crop, batch, output, num_threads=WORKERS)


def _loaders(dataset: Dataset, crop: str, batch: int, output: str, **settings: Any) -> Iterator[Loader]:
    """Yield one loader, and close it."""
    window = RandomCrop(size=CROP) if crop == "random" else RandomResizedCrop(size=CROP)
    if output == "uint8":
        transform = Transform(crop=window, mean="none", lighting=OFF, dtype="uint8")
    else:
        ops = (RandAugment(n=2, magnitude=9),) if output == "rand" else ()
        transform = Transform(crop=window, mean=MEAN, std=STD, lighting=OFF, ops=ops)
    with Pairs(dataset, "train", batch_size=batch, transform=transform, **settings) as loader:
        yield loader


@contextmanager
def open_remote(url: str, endpoint: str, cache: str, limit: int, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader in the windowed order of a dataset at an S3 URL, or in a local folder."""
    given: dict[str, Any] = {"cache": cache, "cache_bytes": limit, "storage_options": {"endpoint_url": endpoint}}
    dataset = Dataset(url, **given) if "://" in url else Dataset(url)
    yield from _loaders(dataset, crop, batch, output, order="windowed", window=0.1, num_threads=READERS)
