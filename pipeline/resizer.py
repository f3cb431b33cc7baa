"""Crops that are made on the CPU, ahead of the graph that uses them: resized by torch, or cut out of stored pixels.

DALI's own resizing takes five times as long there. Three things overlap: a thread reads, DALI's threads decode the next
batch, and a pool of threads makes the crops of this one (torch's kernel releases the GIL and works on one thread). Of
an image with several views the smallest window that holds theirs is decoded, once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
import torch

from .choices import Choices
from .decoded import DamagedPixelsError, DecodedStore
from .decoded.windows import StoredWindows
from .graph import as_lists, beginning_of, inputs_after, tensor_list
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


Job = tuple[Callable[[], Pixels | None], Sequence[int], Sequence[_Cut]]
"""Of one image: what returns its window, the window's start, and the views."""


class Resizer:
    """Makes the inputs of the graphs of an iteration, batch by batch; crops are uint8 (n, size, size, 3).

    parts: the transform of each graph, with its number of views. `beginning_of` says what each graph gets. reader:
    reads the JPEGs. share_size: maximum number of images per batch. device_id: the GPU of the graphs, or None. store:
    of decoded pixels. decoding: of JPEGs.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Transform, int]],
        reader: SampleReader,
        *,
        share_size: int,
        num_threads: int,
        device_id: int | None = None,
        store: DecodedStore | None = None,
        decoding: Decoding = Decoding(),  # noqa: B008
    ) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="freelight-resize")
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="freelight-resize")
        self._parts = parts
        self._beginnings = [beginning_of(part, device_id, is_stored=store is not None) for part, _ in parts]
        self._reader = reader
        self._num_threads = num_threads
        self._memory = [Memory() for _ in parts]
        settings: dict[str, Any] = {"share_size": share_size, "num_threads": num_threads}
        uses = [beginning != "jpegs" for beginning in self._beginnings]
        self._windows: WindowSource = (
            JpegWindows(parts, uses, reader, decoding=decoding, **settings)
            if store is None
            else StoredWindows(store, parts, reader, **settings)
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
        inputs: list[list[Any]] = []
        cuts: list[list[_Cut]] = []
        for part, ((transform, views), own) in enumerate(zip(self._parts, batch.taken, strict=True)):
            beginning = self._beginnings[part]
            after = as_lists(own[name] for name in inputs_after(beginning, transform))
            if beginning == "jpegs":
                inputs.append([tensor_list([*batch.jpegs] * views), *after])
                continue
            sizes = np.tile(sizes_of(self._reader, batch.samples), (views, 1))
            start, shape = transform.crop.needed(own, sizes)
            outs: Any
            if beginning == "crops":
                size = views * len(batch.samples), transform.crop.size, transform.crop.size, 3
                outs = np.frombuffer(self._memory[part].take(math.prod(size)), np.uint8).reshape(size)
                resizes = _resizes(transform.crop, own)
                inputs.append([*as_lists([outs]), *after])
            else:
                outs = [np.empty((*side, 3), np.uint8) for side in shape.tolist()]
                resizes = repeat(None)
                inputs.append([tensor_list(outs), *after])
            ends = (start + shape).tolist()
            own_cuts = [
                _Cut(out, top, left, bottom, right, resize)
                for out, (top, left), (bottom, right), resize in zip(outs, start.tolist(), ends, resizes, strict=False)
            ]
            cuts += [
                own_cuts[first : first + len(batch.samples)] for first in range(0, len(own_cuts), len(batch.samples))
            ]
        self._make(batch, cuts)
        return batch.samples, inputs

    def _make(self, batch: Windows, cuts: list[list[_Cut]]) -> None:
        """Make the views of a batch in the pool. Raises `DamagedPixelsError` if stored pixels were damaged."""
        jobs: list[Job] = list(zip(batch.pixels, batch.start.tolist(), zip(*cuts, strict=True), strict=True))
        size = -(-len(jobs) // (4 * self._num_threads))
        made = self._pool.map(_run, [jobs[first : first + size] for first in range(0, len(jobs), size)])
        damaged = batch.samples[~np.array(list(chain.from_iterable(made)), bool)]
        if len(damaged):
            raise DamagedPixelsError(
                f"stored pixels are damaged, of {len(damaged)} samples: {self._reader.split.describe(int(damaged[0]))}"
            )


def _resizes(crop: Crop, taken: Arrays) -> Iterator[tuple[Sequence[int], Sequence[float], int] | None]:
    """Return place, scale and filter of each crop, as `resize_into` takes them; None for crops that are cut."""
    if not crop.resizes:
        return repeat(None)
    shape = taken["shape"]
    places = taken["place"].tolist() if "place" in taken else [(0, 0)] * len(shape)
    scales = (taken["scale"] if "scale" in taken else shape / crop.size).tolist()
    filters = taken["filter"].tolist() if "filter" in taken else [filter_of(crop.interpolation)] * len(shape)
    return zip(places, scales, filters, strict=True)


def _run(jobs: Sequence[Job]) -> list[bool]:
    """Make the views of some images. Returns whether the pixels of each were sound."""
    sound = []
    for pixels, (first, left_most), cuts in jobs:
        window = pixels()
        sound.append(window is not None)
        if window is None:
            continue
        for out, top, left, bottom, right, resize in cuts:
            piece = window[top - first : bottom - first, left - left_most : right - left_most]
            if resize is None:
                np.copyto(out, piece)
            else:
                resize_into(torch.from_numpy(out), torch.from_numpy(piece), *resize)
    return sound
