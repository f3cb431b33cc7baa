"""Resized crops on the CPU: DALI decodes the windows, torch resizes them, both ahead of the graph that uses them.

DALI's own resizing takes five times as long there. Three things overlap: a thread reads JPEGs, DALI's threads decode
the next batch, and a pool of threads resizes this one (torch's kernel releases the GIL and works on one thread).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .choices import Choices
from .graph import define_decoding, graph_feed
from .ops import Arrays, Crop
from .ops.resizing import filter_of, resize_into
from .reading import ReadAhead, SampleReader, Share
from .running import end_epoch, run

AHEAD = 3
"""Batches of JPEGs that are read ahead of decoding."""


class Resizer:
    """Makes the crops of an iteration, batch by batch: uint8 (n, size, size, 3).

    reader: reads the JPEGs. share_size: maximum number of samples per batch. The memory of a batch is used again after
    `free`.
    """

    def __init__(self, crop: Crop, reader: SampleReader, *, share_size: int, num_threads: int) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="freelight-resize")
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="freelight-resize")
        self._crop = crop
        self._reader = reader
        self._reads = ReadAhead()
        self._shape = (share_size, crop.size, crop.size, 3)
        self._job_size = -(-share_size // (4 * num_threads))
        self._free: list[npt.NDArray[np.uint8]] = []
        self._pipeline = define_decoding(
            crop, source=self._reads.next_inputs, batch_size=share_size, num_threads=num_threads
        )

    def start(
        self,
        thread: ThreadPoolExecutor,
        read: Callable[[Share, Share], tuple[Share, list[bytes]]],
        shares: list[Share],
        choices: Choices,
    ) -> Callable[[Share, Share], tuple[Share, list[Any]]]:
        """Start to `read` the JPEGs of `shares` in `thread`; return the function that makes the next batch.

        It is to be called in `self.thread`, in the order of `shares`. choices: of `Transform.choose`.
        """
        decoding = choices.only(self._crop.decoding_feeds())

        def read_windows(share: Share, later: Share) -> tuple[Share, list[Any]]:
            samples, jpegs = read(share, later)
            return samples, graph_feed(decoding, samples, jpegs)

        self._reads.start(thread, read_windows, shares, AHEAD)
        return partial(self._next, choices)

    def free(self, crops: npt.NDArray[np.uint8]) -> None:
        """Allow the memory of a batch to be used again."""
        self._free.append(np.asarray(crops.base))

    def end_epoch(self) -> None:
        """Tell DALI that the epoch has ended, so that the next one can start."""
        end_epoch(self._pipeline)

    def stop(self) -> None:
        """End the threads, after the one that reads. The resizer cannot be used again."""
        self.thread.shutdown(cancel_futures=True)
        self._pool.shutdown()
        self._reads.clear()

    def _next(self, choices: Choices, share: Share, later: Share) -> tuple[Share, list[Any]]:
        """Return the next batch's samples, and the inputs of the graph that begins with crops."""
        samples = self._reads.next_samples()
        if not len(samples):
            return samples, []
        windows = run(self._pipeline, samples, self._reader)
        taken = choices.take(samples)
        memory = self._free.pop() if self._free else np.empty(self._shape, np.uint8)
        crops = memory[: len(samples)]
        jobs = list(zip(torch.from_numpy(crops), windows, *self._settings(taken, len(samples)), strict=True))
        starts = range(0, len(jobs), self._job_size)
        list(self._pool.map(_resize, [jobs[start : start + self._job_size] for start in starts]))
        return samples, [crops, *(values for name, values in taken.items() if name not in self._crop.feeds())]

    def _settings(self, taken: Arrays, count: int) -> Iterator[list[Any]]:
        """Yield place, scale and filter of each sample, as `resize_into` takes them."""
        yield taken["place"].tolist() if "place" in taken else [(0, 0)] * count
        yield (taken["scale"] if "scale" in taken else taken["shape"] / self._crop.size).tolist()
        yield taken["filter"].tolist() if "filter" in taken else [filter_of(self._crop.interpolation)] * count


def _resize(jobs: list[tuple[Any, ...]]) -> None:
    for out, window, place, scale, filter_ in jobs:
        resize_into(out, torch.from_numpy(np.asarray(window)), place, scale, filter_)
