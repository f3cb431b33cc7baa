"""LitData's side: its chunks, its loader, torchvision's transforms."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from litdata import StreamingDataLoader, StreamingDataset, optimize  # type: ignore[import-not-found]
from litdata.streaming.downloader import _OBSTORE_CLIENT_OPTIONS  # type: ignore[import-not-found]

from freelight.benchmarks.sides.pictures import File, Part, read_part, shard_bytes
from freelight.benchmarks.sides.settings import READERS, WORKERS
from freelight.benchmarks.sides.squares import make_square
from freelight.benchmarks.sides.torchvision_steps import Steps

DISTRIBUTIONS = ("litdata", "torchvision", "torch")


def prepare(files: Sequence[File], out: str) -> None:
    """Write the squares of the files as chunks."""
    optimize(_squared, list(files), out, chunk_bytes="64MB", num_workers=WORKERS, verbose=False)


def _squared(file: File) -> dict[str, Any]:
    return {"jpeg": make_square(file[0]), "label": file[1]}


def convert(dataset: str, parts: Sequence[Part], out: str) -> None:
    """Write the JPEGs as chunks."""
    optimize(_copied, list(parts), out, chunk_bytes=shard_bytes(dataset), num_workers=WORKERS, verbose=False)


def _copied(part: Part) -> dict[str, Any]:
    return {"jpeg": read_part(part), "label": part[-1]}


class Samples(StreamingDataset):  # type: ignore[misc]
    """Decodes and transforms in the workers."""

    steps: Steps

    def __getitem__(self, index: Any) -> tuple[Any, int]:
        """Return image and label."""
        sample = super().__getitem__(index)
        return self.steps(sample["jpeg"]), sample["label"]


@contextmanager
def open_loader(folder: str, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of one epoch after another."""
    dataset = Samples(str(Path(folder)), shuffle=True, drop_last=False)
    dataset.steps = Steps(crop, output)
    yield StreamingDataLoader(dataset, batch_size=batch, num_workers=WORKERS, persistent_workers=True)


@contextmanager
def open_remote(url: str, endpoint: str, cache: str, limit: int, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of a dataset at an S3 URL."""
    _OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # its client refuses http:// otherwise
    options = {"endpoint_url": endpoint}
    dataset = Samples(
        url, cache_dir=cache, max_cache_size=limit, shuffle=True, drop_last=False, storage_options=options
    )
    dataset.steps = Steps(crop, output)
    yield StreamingDataLoader(dataset, batch_size=batch, num_workers=READERS)
