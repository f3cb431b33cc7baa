"""Crops that are made on the CPU, ahead of the graph that uses them: resized by torch, or cut out of stored pixels.

DALI's own resizing takes five times as long there. Three things overlap: a thread reads, DALI's threads decode the next
batch, and a pool of threads makes the crops of this one (torch's kernel releases the GIL and works on one thread). Of
an image with several views the smallest window that holds theirs is decoded, once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch

from ..shards.base import counted
from .choices import Choices
from .decoded import DamagedPixelsError, DecodedStore
from .decoded.windows import StoredWindows
from .graph import Beginning, as_lists, inputs_after, tensor_list
from .memory import Memory
from .ops import Arrays, Crop, Decoding
from .ops.resizing import filter_of, resize_into
from .reading import SampleReader, Share
from .transform import Transform
from .windows import JpegWindows, Pixels, Windows, WindowSource, sizes_of


class _Cut(NamedTuple):
    """One view of an image. out: uint8 (h, w, 3). top to right: its part of the picture. resize: place, scale and
    filter, as `resize_into` takes them; None if the part is the view.
    """

    out: Pixels
    top: int
    left: int
    bottom: int
    right: int
    resize: tuple[Sequence[int], Sequence[float], int] | None


Job = tuple[Pixels | Callable[[], Pixels | None], Sequence[int], Sequence[_Cut]]
"""Of one image: its window or what returns it, the window's start, and the views."""


class Resizer:
    """Makes the inputs of the graphs of an iteration, batch by batch; crops are uint8 (n, size, size, 3).

    parts: the transform of each graph, with its number of views. beginnings: what each graph gets, not all JPEGs.
    reader: reads the JPEGs. share_size: maximum number of images per batch. store: of decoded pixels. decoding: of
    JPEGs.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Transform, int]],
        beginnings: Sequence[Beginning],
        reader: SampleReader,
        *,
        share_size: int,
        num_threads: int,
        store: DecodedStore | None = None,
        decoding: Decoding = Decoding(),  # noqa: B008
    ) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="freelight-resize")
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="freelight-resize")
        self._parts = parts
        self._beginnings = beginnings
        self._reader = reader
        self._num_threads = num_threads
        self._memory = [Memory() for _ in parts]
        settings: dict[str, Any] = {"share_size": share_size, "num_threads": num_threads}
        uses = [beginning != "jpegs" for beginning in beginnings]
        whole = "pictures" in beginnings
        self._windows: WindowSource = (
            JpegWindows(parts, uses, reader, decoding=decoding, **settings)
            if store is None
            else StoredWindows(store, parts, reader, whole=whole, **settings)
        )

    def start(
        self, thread: ThreadPoolExecutor, shares: list[Share], choices: Sequence[Choices]
    ) -> Callable[[Share, Share], tuple[Share, list[list[Any]]]]:
        """Start to read `shares` in `thread`; return the function that makes the next batch's inputs.

        It is to be called in `self.thread`, in the order of `shares`. choices: of each part.
        """
        self._windows.start(thread, shares, choices)
        return self._next

    def end_epoch(self) -> None:
        """Make ready for the next epoch."""
        self._windows.end_epoch()

    def stop(self) -> None:
        """End the threads, after the one that reads. The resizer cannot be used again."""
        self.thread.shutdown(cancel_futures=True)
        self._pool.shutdown()
        self._windows.clear()

    def _next(self, share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
        """Return the next batch's samples, and the inputs of each graph."""
        batch = self._windows.next()
        if not len(batch.samples):
            return batch.samples, []
        firsts: list[Any] = []
        cuts: list[list[_Cut]] = [[] for _ in batch.samples]
        for part, ((_, views), beginning) in enumerate(zip(self._parts, self._beginnings, strict=True)):
            if beginning in ("windows", "crops"):
                firsts.append(self._add_cuts(cuts, part, batch))
            else:
                firsts.append(tensor_list([*batch.jpegs] * views) if beginning == "jpegs" else None)
        pictures = self._make(batch, cuts)
        return batch.samples, [
            [
                tensor_list(pictures * views) if first is None else first,
                *as_lists(own[name] for name in inputs_after(beginning, transform)),
            ]
            for first, (transform, views), beginning, own in zip(
                firsts, self._parts, self._beginnings, batch.taken, strict=True
            )
        ]

    def _add_cuts(self, cuts: list[list[_Cut]], part: int, batch: Windows) -> Any:
        """Add a part's views to the cuts of each image, and return where they will be: the graph's first input."""
        (transform, views), own, images = self._parts[part], batch.taken[part], len(batch.samples)
        start, shape = transform.crop.needed(own, np.tile(sizes_of(self._reader, batch.samples), (views, 1)))
        resizes: Iterator[tuple[Sequence[int], Sequence[float], int] | None] = repeat(None)
        outs: Any
        if self._beginnings[part] == "crops":
            size = views * images, transform.crop.size, transform.crop.size, 3
            outs = self._memory[part].take(math.prod(size)).reshape(size)
            resizes = _resizes(transform.crop, own)
        else:
            outs = [np.empty((*side, 3), np.uint8) for side in shape.tolist()]
        ends = (start + shape).tolist()
        for place, (out, (top, left), (bottom, right), resize) in enumerate(
            zip(outs, start.tolist(), ends, resizes, strict=False)
        ):
            cuts[place % images].append(_Cut(out, top, left, bottom, right, resize))
        return as_lists([outs])[0] if self._beginnings[part] == "crops" else tensor_list(outs)

    def _make(self, batch: Windows, cuts: list[list[_Cut]]) -> list[Pixels]:
        """Make the views of a batch in the pool, if there is anything to do, and return its windows.

        Raises `DamagedPixelsError` if stored pixels were damaged.
        """
        ready = [pixels for pixels in batch.pixels if not callable(pixels)]
        if len(ready) == len(cuts) and not any(cuts):
            return ready
        jobs: list[Job] = list(zip(batch.pixels, batch.start.tolist(), cuts, strict=True))
        size = -(-len(jobs) // (4 * self._num_threads))
        pieces = [jobs[first : first + size] for first in range(0, len(jobs), size)]
        windows = [window for made in self._pool.map(_run, pieces) for window in made]
        damaged = [place for place, window in enumerate(windows) if window is None]
        if damaged:
            first = self._reader.split.describe(int(self._reader.samples_of(batch.samples)[damaged[0]]))
            raise DamagedPixelsError(f"stored pixels of {counted(len(damaged), 'sample')} are damaged: {first}")
        return [window for window in windows if window is not None]


def _resizes(crop: Crop, taken: Arrays) -> Iterator[tuple[Sequence[int], Sequence[float], int] | None]:
    """Return place, scale and filter of each crop, as `resize_into` takes them; None for crops that are cut."""
    if not crop.resizes:
        return repeat(None)
    shape = taken["shape"]
    places = taken["place"].tolist() if "place" in taken else [(0, 0)] * len(shape)
    scales = (taken["scale"] if "scale" in taken else shape / crop.size).tolist()
    filters = taken["filter"].tolist() if "filter" in taken else [filter_of(crop.interpolation)] * len(shape)
    return zip(places, scales, filters, strict=True)


def _run(jobs: Sequence[Job]) -> list[Pixels | None]:
    """Make the views of some images. Returns their windows; None where stored pixels were damaged."""
    windows = []
    for pixels, (first, left_most), cuts in jobs:
        window = pixels() if callable(pixels) else pixels
        windows.append(window)
        if window is None:
            continue
        for out, top, left, bottom, right, resize in cuts:
            piece = window[top - first : bottom - first, left - left_most : right - left_most]
            if resize is None:
                np.copyto(out, piece)
            else:
                resize_into(torch.from_numpy(out), torch.from_numpy(piece), *resize)
    return windows
