"""Fill a store ahead of training, and say what that takes before anything is written."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...shards import Dataset, Split
from ...shards.base import whole_number
from ..graph import as_lists, define_decoding, tensor_list
from ..reading import ReadAhead, SampleReader, Share, reader_thread
from ..running import run
from ..windows import AHEAD
from .files import header_path
from .store import DecodedStore, fitting, pixel_ends

BATCH_IMAGES, BATCH_BYTES = 64, 1 << 26
"""The images that are decoded together, and the bytes of their pixels unless one alone has more."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What the decoded pixels of a split take.

    split: its name. images, bytes: all. limit: maximum bytes that are kept; None for no limit. kept, kept_bytes: what
    fits into it. there: images that the folder has already.
    """

    split: str
    images: int
    bytes: int
    limit: int | None
    kept: int
    kept_bytes: int
    there: int

    def __str__(self) -> str:
        """Return the price in a line."""
        some = "all" if self.kept == self.images else f"the first {self.kept:,}, {_size(self.kept_bytes)}"
        return (
            f"{self.split}: {self.images:,} images take {_size(self.bytes)} decoded; kept: {some}; "
            f"{self.there:,} are there"
        )


def price_decoding(
    dataset: Dataset, splits: Sequence[str], folder: Path, limit: int | None = None
) -> tuple[list[Price], int]:
    """Return the price of each split, and the bytes that the disk of `folder` has free. Writes nothing.

    limit: maximum bytes of all splits; each takes what those before it leave. Raises `FreelightError` if the folder has
    pixels of another dataset or decoder.
    """
    if limit is not None:
        whole_number("decoded_bytes", limit)
    prices = []
    for name in splits:
        split = dataset.split(name)
        ends = pixel_ends(split)
        kept, kept_bytes = fitting(ends, limit)
        there = 0
        if header_path(folder, name).exists():
            store = DecodedStore(folder, split, fingerprint=dataset.fingerprint, limit=limit)
            there = len(store)
            store.close()
        prices.append(
            Price(
                split=name,
                images=len(split),
                bytes=int(ends[-1]),
                limit=limit,
                kept=kept,
                kept_bytes=kept_bytes,
                there=there,
            )
        )
        limit = None if limit is None else limit - kept_bytes
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return prices, shutil.disk_usage(place).free


def fill(store: DecodedStore, split: Split, *, num_threads: int) -> Iterator[int]:
    """Decode and write what a store does not have yet, on `num_threads` threads; yield the images of each batch.

    Raises `FreelightError` for a damaged sample. What was written before stays, also after a kill.
    """
    missing = np.arange(store.kept, dtype=np.int32)
    missing = missing[~store.has(missing)]
    reader = SampleReader(split)
    reads = ReadAhead(2)

    def read(share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
        reader.announce(later)
        samples, jpegs = reader.read(share)
        shapes = split.sizes[samples]
        inputs = [tensor_list(jpegs), *as_lists([np.zeros_like(shapes), shapes])]
        return samples, [inputs, inputs]

    pipeline = define_decoding(source=lambda: reads.next_inputs(0), batch_size=BATCH_IMAGES, num_threads=num_threads)
    thread, pool = reader_thread(), ThreadPoolExecutor(num_threads, thread_name_prefix="freelight-fill")
    try:
        shares = list(_shares(missing, split))
        reader.start(shares)
        reads.start(thread, read, shares, AHEAD)
        for _ in shares:
            samples = reads.next_samples()
            pixels = [np.asarray(image) for image in run(pipeline, samples, reader)]
            list(pool.map(store.write, samples.tolist(), pixels))
            reads.next_inputs(1)  # held until now, for DALI
            yield len(samples)
    finally:
        thread.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)
        reads.clear()
        split.close()


def _shares(samples: Share, split: Split) -> Iterator[Share]:
    """Cut samples into batches of at most `BATCH_IMAGES` and, but for single images, `BATCH_BYTES`."""
    lengths = (3 * split.sizes[samples].prod(axis=1, dtype=np.int64)).tolist()
    first = size = 0
    for place, length in enumerate(lengths):
        if place > first and (place - first == BATCH_IMAGES or size + length > BATCH_BYTES):
            yield samples[first:place]
            first, size = place, 0
        size += length
    if first < len(samples):
        yield samples[first:]


def _size(count: int) -> str:
    """Return a number of bytes in GB, or in MB below one."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
