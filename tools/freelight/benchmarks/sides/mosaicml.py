"""MosaicML Streaming's side: its shards, its loader, torchvision's transforms."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset  # type: ignore[import-not-found]
from streaming.base.util import merge_index  # type: ignore[import-not-found]

from freelight.benchmarks.sides.pictures import File, Part, read_part, shard_bytes
from freelight.benchmarks.sides.settings import READERS, WORKERS
from freelight.benchmarks.sides.squares import make_square
from freelight.benchmarks.sides.torchvision_steps import Steps

DISTRIBUTIONS = ("mosaicml-streaming", "torchvision", "torch")


def prepare(files: Sequence[File], out: str) -> None:
    """Write the squares of the files as shards."""
    _write(files, _squared, out, 1 << 26)


def _squared(file: File) -> bytes:
    return make_square(file[0])


def convert(dataset: str, parts: Sequence[Part], out: str) -> None:
    """Write the JPEGs as shards."""
    _write(parts, read_part, out, shard_bytes(dataset))


def _write(items: Sequence[Any], read: Callable[[Any], bytes], out: str, limit: int) -> None:
    """Write one part a process, and merge their indexes, as its documentation advises."""
    with multiprocessing.Pool(WORKERS) as pool:
        shares = [items[first::WORKERS] for first in range(WORKERS)]
        pool.starmap(
            partial(_write_share, read, limit), [(share, f"{out}/{part}") for part, share in enumerate(shares)]
        )
    merge_index(out)


def _write_share(read: Callable[[Any], bytes], limit: int, items: Sequence[Any], out: str) -> None:
    Path(out).mkdir(parents=True)
    with MDSWriter(columns={"jpeg": "bytes", "label": "int"}, out=out, size_limit=limit, exist_ok=True) as writer:
        for item in items:
            writer.write({"jpeg": read(item), "label": item[-1]})


class Samples(StreamingDataset):  # type: ignore[misc]
    """Decodes and transforms in the workers."""

    steps: Steps

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return image and label."""
        sample = super().__getitem__(index)
        return self.steps(sample["jpeg"]), sample["label"]


@contextmanager
def open_loader(folder: str, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of one epoch after another."""
    dataset = Samples(local=folder, shuffle=True, batch_size=batch, shuffle_seed=0)
    dataset.steps = Steps(crop, output)
    yield StreamingDataLoader(dataset, batch_size=batch, num_workers=WORKERS, persistent_workers=True)


@contextmanager
def open_remote(url: str, endpoint: str, cache: str, limit: int, crop: str, batch: int, output: str) -> Iterator[Any]:
    """Yield a loader of a dataset at an S3 URL, which shuffles a tenth of the samples at a time."""
    os.environ["S3_ENDPOINT_URL"] = endpoint
    dataset = Samples(remote=url, local=cache, cache_limit=limit, shuffle=True, batch_size=batch, shuffle_seed=0)
    dataset.shuffle_block_size = dataset.num_samples // 10  # by default 262,144, for which a cache must hold all
    dataset.steps = Steps(crop, output)
    for stream in dataset.streams:
        # The connection that fetched the index would be shared by the workers, which then take each other's answers.
        stream._downloader.clean_up()
    yield StreamingDataLoader(dataset, batch_size=batch, num_workers=READERS)
