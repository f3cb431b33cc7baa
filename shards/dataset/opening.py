"""Open a dataset at a path or a URL, in the one way of all commands."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..base import FETCH_TIMEOUT, StorageOptions
from .directory import Dataset


@contextlib.contextmanager
def open_dataset(
    place: Path | str,
    *,
    cache: Path | None = None,
    cache_bytes: int = 10**11,
    fetch_timeout: float = FETCH_TIMEOUT,
    storage_options: StorageOptions = None,
    streams: int = 1,
) -> Iterator[Dataset]:
    """Yield the dataset at a path or URL. A URL needs no `cache`: shards are then read once, and not kept.

    They pass through a temporary folder that holds at most `streams` shards, besides those that are open. Arguments as
    of `Dataset`.
    """
    options: Any = {"fetch_timeout": fetch_timeout, "storage_options": storage_options}
    if cache is not None or not ("://" in str(place) or _has_base(Dataset(place))):
        yield Dataset(place, cache=cache, cache_bytes=cache_bytes, **options)
        return
    with tempfile.TemporaryDirectory(prefix="freelight-") as folder:
        dataset = Dataset(place, cache=folder, **options)
        largest = max(shard.bytes for split in dataset.manifest.splits.values() for shard in split.shards)
        dataset.limit_cache(streams * largest)
        yield dataset


def _has_base(dataset: Dataset) -> bool:
    """Tell whether shards of a dataset lie behind a URL of their own."""
    return any(split.base is not None for split in dataset.manifest.splits.values())
