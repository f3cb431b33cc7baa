"""The store of a split's decoded pixels: each sample is decoded once, and later passes read its pixels.

Three files in a folder, named by the split:

    train.decoded.json    what the pixels belong to: dataset, samples table, decoder
    train.decoded.pixels  uint8 (height, width, 3) of sample after sample; sparse until all are there
    train.decoded.table   8 bytes of each sample: 0, or 2**32 + crc32 of its pixels

A sample's place follows from the sizes of those before it, so processes share a store without locks: two that decode
the same sample write the same bytes. A sample's word in the table is written after its pixels are on the disk.
"""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError, Split
from ...shards.base import crc32, memory_gb, whole_number
from .files import WORD_BYTES, StoreFiles

DecodedCheck = Literal["first", "always"]
"""When the crc32 of stored pixels is compared: the first time that a loader reads a sample, or every time."""
PRESENT = 1 << 32
MEMORY_SHARE = 0.5
"""Pixels that take less of the machine's memory stay in it once they were read."""
DAMAGED = 1
"""The word, in memory only, of a sample whose pixels were found damaged."""


class DamagedPixelsError(FreelightError):
    """Stored pixels were damaged. They are forgotten: read again, the samples are decoded."""


def pixel_ends(split: Split) -> npt.NDArray[np.int64]:
    """Return where each sample's pixels end in a store of all samples, bytes: (n,)."""
    return np.cumsum(3 * split.sizes.prod(axis=1, dtype=np.int64))


def fitting(ends: npt.NDArray[np.int64], limit: int | None) -> tuple[int, int]:
    """Return how many samples, the first of a split, have their pixels within `limit` bytes, and the bytes of these."""
    count = len(ends) if limit is None else int(np.searchsorted(ends, limit, side="right"))
    return count, int(ends[count - 1]) if count else 0


class DecodedStore:
    """The decoded pixels of a split in `folder`, which is made if it is missing.

    fingerprint: of the dataset. limit: maximum bytes of pixels; the first samples that fit are kept, all if None.
    checks: see `DecodedCheck`. Threads may read and write at a time, and so may several processes of a machine.

    Raises `FreelightError` if the folder has pixels of another dataset or decoder, or if the disk has too little space.
    If the disk refuses to write later, that is logged once, and nothing more is written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        split: Split,
        *,
        fingerprint: str,
        limit: int | None = None,
        checks: DecodedCheck = "first",
    ) -> None:
        if checks not in get_args(DecodedCheck):
            raise FreelightError(f"`decoded_check` {checks!r} is not one of {', '.join(get_args(DecodedCheck))}")
        if limit is not None:
            whole_number("decoded_bytes", limit)
        self._always = checks == "always"
        self._sizes = split.sizes
        self._ends = pixel_ends(split)
        self.kept, self.bytes = fitting(self._ends, limit)
        """The number of samples, the first of the split, whose pixels are kept, and the bytes of these."""
        self._files = StoreFiles(Path(folder).absolute(), split, fingerprint)
        self._is_writable = self._files.is_writable
        self._words = np.zeros(len(split), "<u8")
        self._checked = np.zeros(len(split), bool)
        self._lock = threading.Lock()
        self._written: list[tuple[int, int]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._settling: Future[None] | None = None
        self._scratch = threading.local()
        self.refresh()
        if self._is_writable:
            if len(self) < self.kept:
                self._files.check_space(self.bytes, self.kept)
            self._files.grow(self.bytes)
        self._mapped: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Return the number of samples whose pixels are there."""
        return int(np.count_nonzero(self._words[: self.kept] > DAMAGED))

    def refresh(self) -> None:
        """Take note of what other processes have written."""
        found = np.frombuffer(os.pread(self._files.table, self._words.nbytes, 0), "<u8")
        found = np.where(found >> np.uint64(32) == 1, found, np.uint64(0))  # any other word is damaged
        with self._lock:
            own = self._words[: len(found)]
            np.copyto(own, found, where=own == 0)

    def has(self, samples: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return whether the pixels of each sample are there."""
        found: npt.NDArray[np.bool_] = (samples < self.kept) & (self._words[samples] > DAMAGED)
        return found

    def takes(self, samples: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return whether the pixels of each sample, if they are not there, are to be written."""
        return np.full(len(samples), self._is_writable) & (samples < self.kept)

    def announce(self, samples: npt.NDArray[np.integer]) -> None:
        """Ask the kernel to fetch the pixels of these samples in the background, unless memory holds all pixels."""
        if self.bytes < MEMORY_SHARE * memory_gb() * 1e9:
            return
        for sample in samples[self.has(samples)].tolist():
            first, length = self._span(sample)
            os.posix_fadvise(self._files.pixels, first, length, os.POSIX_FADV_WILLNEED)

    def read(self, sample: int, top: int, bottom: int) -> npt.NDArray[np.uint8] | None:
        """Return the rows `top` to `bottom` of a sample's picture: uint8 (rows, width, 3), until the thread's next
        read. None if the pixels are damaged; they are then forgotten.
        """
        width = int(self._sizes[sample, 1])
        first, length = self._span(sample)
        is_checked = self._always or not self._checked[sample]
        start, size = (0, length) if is_checked else (top * width * 3, (bottom - top) * width * 3)
        memory = self._memory(size)[:size]
        try:
            count = os.preadv(self._files.pixels, [memory.data], first + start)
        except OSError:
            count = 0
        if count != size or (is_checked and crc32(memory.data) != int(self._words[sample]) - PRESENT):
            self._words[sample] = DAMAGED
            return None
        pixels = memory.reshape(-1, width, 3)
        if is_checked:
            self._checked[sample] = True
            return pixels[top:bottom]
        return pixels

    def view(self, sample: int) -> npt.NDArray[np.uint8] | Callable[[], npt.NDArray[np.uint8] | None]:
        """Return a sample's picture, uint8 (height, width, 3), mapped, for as long as it is needed.

        If it is still to be checked, return the function that does so and returns it; None as of `read`. Its bytes are
        then read, so that a bad disk is found. If that fails later, the kernel ends the process (SIGBUS).
        """
        if self._always or not self._checked[sample]:
            return partial(self._checked_view, sample)
        return self._view(sample)

    def _checked_view(self, sample: int) -> npt.NDArray[np.uint8] | None:
        if self.read(sample, 0, int(self._sizes[sample, 0])) is None:
            return None
        return self._view(sample)

    def _view(self, sample: int) -> npt.NDArray[np.uint8]:
        with self._lock:
            if self._mapped is None:
                self._mapped = self._files.map(self.bytes)
        first, length = self._span(sample)
        pixels: npt.NDArray[np.uint8] = self._mapped[first : first + length].reshape(*self._sizes[sample], 3)
        return pixels

    def check_length(self) -> None:
        """Raise `FreelightError` if the file of pixels was cut short after it was mapped."""
        if self._mapped is not None:
            self._files.check_length(len(self._mapped))

    def write(self, sample: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Keep a sample's picture, uint8 (height, width, 3). It is there for other processes once it is on the disk."""
        if not self._is_writable:
            return
        data = np.ascontiguousarray(pixels).reshape(-1).data
        crc = crc32(data)
        first, _ = self._span(sample)
        try:
            while data:
                count = os.pwrite(self._files.pixels, data, first)
                data, first = data[count:], first + count
        except OSError as error:
            self._stop_writing(error)
            return
        with self._lock:
            self._words[sample] = PRESENT + crc
            self._written.append((sample, PRESENT + crc))
            if self._settling is None or self._settling.done():
                self._settling = self._settler().submit(self._settle)

    def close(self) -> None:
        """Bring what was written to the disk, and close the files. The store cannot be used again."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._files.is_open:
            self._settle()
            self._files.close()

    def __del__(self) -> None:
        if not hasattr(self, "_scratch"):  # it is not made
            return
        if self._thread is not None:
            self._thread.shutdown(wait=False)  # this may be its last act, and nothing can be waiting
            self._thread = None
        self.close()

    def _span(self, sample: int) -> tuple[int, int]:
        """Return where a sample's pixels begin, and their length, bytes."""
        height, width = self._sizes[sample].tolist()
        length = 3 * height * width
        return int(self._ends[sample]) - length, length

    def _memory(self, size: int) -> npt.NDArray[np.uint8]:
        """Return this thread's memory, of at least `size` bytes; it stays in the cache of its core."""
        memory: npt.NDArray[np.uint8] | None = getattr(self._scratch, "memory", None)
        if memory is None or len(memory) < size:
            memory = self._scratch.memory = np.empty(size, np.uint8)
        return memory

    def _settler(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="freelight-decoded")
        return self._thread

    def _settle(self) -> None:
        """Bring the pixels written so far to the disk, then their words into the table."""
        with self._lock:
            written, self._written = self._written, []
        if not written:
            return
        try:
            os.fdatasync(self._files.pixels)
            for sample, word in written:
                os.pwrite(self._files.table, word.to_bytes(WORD_BYTES, "little"), sample * WORD_BYTES)
        except OSError as error:
            self._words[[sample for sample, _ in written]] = 0  # what the kernel could not write it may have dropped
            self._stop_writing(error)

    def _stop_writing(self, error: OSError) -> None:
        """Write nothing more, and say so once."""
        with self._lock:
            was_writable, self._is_writable = self._is_writable, False
        if was_writable:
            logging.getLogger(__name__).warning(
                "%s cannot be written (%s); it has %d of %d images, the others are decoded in every epoch",
                self._files.pixels_path,
                error.strerror,
                len(self),
                self.kept,
            )
