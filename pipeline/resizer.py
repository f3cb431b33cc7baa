"""Resized crops on the CPU: DALI decodes the windows, torch resizes them, both ahead of the graph that uses them.

DALI's own resizing takes five times as long there. Three things overlap: a thread reads JPEGs, DALI's threads decode
the next batch, and a pool of threads resizes this one (torch's kernel releases the GIL and works on one thread).
Of an image with several views the smallest window that holds theirs is decoded, once.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .choices import Choices
from .graph import as_arrays, begins_with_crops, define_decoding
from .ops import Arrays, Crop
from .ops.resizing import filter_of, resize_into
from .reading import ReadAhead, SampleReader, Share
from .running import end_epoch, run
from .transform import Transform
from .views import viewed

AHEAD = 3
"""Batches of JPEGs that are read ahead of decoding."""


class Resizer:
    """Makes the inputs of the graphs of an iteration, batch by batch; crops are uint8 (n, size, size, 3).

    parts: the transform of each graph, with its number of views. Those whose crop does not resize get JPEGs. reader:
    reads the JPEGs. share_size: maximum number of images per batch. The memory of a batch is used again after `free`.
    """

    def __init__(
        self, parts: Sequence[tuple[Transform, int]], reader: SampleReader, *, share_size: int, num_threads: int
    ) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="freelight-resize")
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="freelight-resize")
        self._parts = parts
        self._reader = reader
        reads = self._reads = ReadAhead(2)
        self._share_size = share_size
        self._num_threads = num_threads
        self._free: list[list[npt.NDArray[np.uint8]]] = [[] for _ in parts]
        self._pipeline = define_decoding(
            source=lambda: reads.next_inputs(0), batch_size=share_size, num_threads=num_threads
        )

    def start(
        self,
        thread: ThreadPoolExecutor,
        read: Callable[[Share, Share], tuple[Share, list[bytes]]],
        shares: list[Share],
        choices: Sequence[Choices],
    ) -> Callable[[Share, Share], tuple[Share, list[list[Any]]]]:
        """Start to `read` the JPEGs of `shares` in `thread`; return the function that makes the next batch's inputs.

        It is to be called in `self.thread`, in the order of `shares`. choices: of each part.
        """

        def read_windows(share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
            """Return the samples, the inputs of the decoding, and what this object needs of the batch."""
            samples, jpegs = read(share, later)
            taken = [
                own.take(viewed(samples, views, len(self._reader.split)))
                for own, (_, views) in zip(choices, self._parts, strict=True)
            ]
            start, shape = self._windows(taken, len(samples))
            return samples, [[as_arrays(jpegs), start, shape], [jpegs, taken, start]]

        self._reads.start(thread, read_windows, shares, AHEAD)
        return self._next

    def free(self, part: int, crops: npt.NDArray[np.uint8]) -> None:
        """Allow the memory of a batch of a part to be used again."""
        self._free[part].append(np.asarray(crops.base))

    def end_epoch(self) -> None:
        """Tell DALI that the epoch has ended, so that the next one can start."""
        end_epoch(self._pipeline)

    def stop(self) -> None:
        """End the threads, after the one that reads. The resizer cannot be used again."""
        self.thread.shutdown(cancel_futures=True)
        self._pool.shutdown()
        self._reads.clear()

    def _windows(self, taken: Sequence[Arrays], images: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return start and shape of the window that holds all views of each image: (n, 2) each."""
        starts, ends = [], []
        for own, (transform, views) in zip(taken, self._parts, strict=True):
            if begins_with_crops(transform, None):
                shape = own["shape"].reshape(views, images, 2)
                start = own["start"].reshape(shape.shape) if "start" in own else np.zeros_like(shape)
                starts.append(start.min(axis=0))
                ends.append((start + shape).max(axis=0))
        first = np.min(starts, axis=0)
        return first, np.max(ends, axis=0) - first

    def _next(self, share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
        """Return the next batch's samples, and the inputs of each graph."""
        samples = self._reads.next_samples()
        if not len(samples):
            return samples, []
        windows = [np.asarray(window) for window in run(self._pipeline, samples, self._reader)]
        jpegs, taken, start = self._reads.next_inputs(1)
        inputs: list[list[Any]] = []
        jobs: list[tuple[Any, ...]] = []
        for part, ((transform, views), own) in enumerate(zip(self._parts, taken, strict=True)):
            if not begins_with_crops(transform, None):
                inputs.append([as_arrays(jpegs) * views, *own.values()])
                continue
            crop, free = transform.crop, self._free[part]
            memory = free.pop() if free else self._new(crop.size, views)
            crops = memory[: views * len(samples)]
            jobs += zip(torch.from_numpy(crops), *_settings(crop, own, windows, start), strict=True)
            inputs.append([crops, *(values for name, values in own.items() if name not in crop.feeds())])
        job_size = -(-len(jobs) // (4 * self._num_threads))
        list(self._pool.map(_resize, [jobs[first : first + job_size] for first in range(0, len(jobs), job_size)]))
        return samples, inputs

    def _new(self, size: int, views: int) -> npt.NDArray[np.uint8]:
        """Return memory for the crops of a batch."""
        return np.empty((views * self._share_size, size, size, 3), np.uint8)


def _settings(
    crop: Crop, taken: Arrays, windows: list[npt.NDArray[np.uint8]], start: npt.NDArray[np.int32]
) -> Iterator[list[Any]]:
    """Yield piece, place, scale and filter of each crop, as `resize_into` takes them. start: of each window."""
    shape = taken["shape"]
    offset = taken["start"] - np.resize(start, shape.shape) if "start" in taken else np.zeros_like(shape)
    ends = (offset + shape).tolist()
    pieces = itertools.cycle(windows)
    yield [
        window[top:bottom, left:right]
        for window, (top, left), (bottom, right) in zip(pieces, offset.tolist(), ends, strict=False)
    ]
    yield taken["place"].tolist() if "place" in taken else [(0, 0)] * len(shape)
    yield (taken["scale"] if "scale" in taken else shape / crop.size).tolist()
    yield taken["filter"].tolist() if "filter" in taken else [filter_of(crop.interpolation)] * len(shape)


def _resize(jobs: list[tuple[Any, ...]]) -> None:
    for out, piece, place, scale, filter_ in jobs:
        resize_into(out, torch.from_numpy(piece), place, scale, filter_)
