"""The parts of the pictures of a batch that crops are made of, decoded from JPEGs ahead of their use."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .choices import Choices
from .graph import as_lists, define_decoding, tensor_list
from .ops import Arrays, Decoding
from .reading import Encoded, ReadAhead, SampleReader, Share
from .running import end_epoch, run
from .transform import Transform
from .views import viewed

AHEAD = 3
"""Batches of JPEGs that are read ahead of decoding."""

Pixels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int32]
"""Of some pictures: (n, 2), y before x, pixels."""


class Windows(NamedTuple):
    """The windows of a batch. samples: the occurrences that are not damaged. jpegs: theirs, if a graph needs them.

    taken: the choices of each part of the transform. start: where each image's window begins in the picture. pixels:
    of each image its window, uint8 (h, w, 3), or a function that returns it. That is called once, and what it returns
    is valid until the thread calls the next; None: the stored pixels are damaged.
    """

    samples: Share
    jpegs: Sequence[Encoded]
    taken: Sequence[Arrays]
    start: Places
    pixels: Sequence[Pixels | Callable[[], Pixels | None]]


class WindowSource(Protocol):
    """What makes the windows of an iteration."""

    def start(self, thread: ThreadPoolExecutor, shares: list[Share], choices: Sequence[Choices]) -> None:
        """Start to read `shares` in `thread`. choices: of each part of the transform."""

    def next(self) -> Windows:
        """Return the next batch's windows."""

    def end_epoch(self) -> None:
        """Make ready for the next epoch."""

    def clear(self) -> None:
        """Forget what was read ahead."""


class JpegWindows:
    """Decodes windows with a DALI pipeline of its own, which works on the next batch meanwhile.

    parts: the transform of each graph, with its number of views. uses: whether each is made of windows. reader: reads
    the JPEGs. share_size: maximum number of images per batch. decoding: of JPEGs.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Transform, int]],
        uses: Sequence[bool],
        reader: SampleReader,
        *,
        share_size: int,
        num_threads: int,
        decoding: Decoding,
    ) -> None:
        self._parts = parts
        self._uses = uses
        self._reader = reader
        reads = ReadAhead(2)
        self._pipeline = define_decoding(
            source=lambda: reads.next_inputs(0), batch_size=share_size, num_threads=num_threads, decoding=decoding
        )
        self._reads = reads  # freed after the pipeline, as in `decoder.py`

    def start(self, thread: ThreadPoolExecutor, shares: list[Share], choices: Sequence[Choices]) -> None:
        """Start to read the JPEGs of `shares` in `thread`."""
        self._reads.start(thread, partial(self._read, choices), shares, AHEAD)

    def next(self) -> Windows:
        """Return the next batch's windows."""
        samples = self._reads.next_samples()
        if not len(samples):
            return Windows(samples, [], [], np.empty((0, 2), np.int32), [])
        decoded = [np.asarray(window) for window in run(self._pipeline, samples, self._reader)]
        jpegs, taken, start = self._reads.next_inputs(1)
        return Windows(samples, jpegs, taken, start, decoded)

    def end_epoch(self) -> None:
        """Tell DALI that the epoch has ended, so that the next one can start."""
        end_epoch(self._pipeline)

    def clear(self) -> None:
        """Forget what was read ahead."""
        self._reads.clear()

    def _read(self, choices: Sequence[Choices], share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
        """Return the samples, the inputs of the decoding, and what else belongs to the batch."""
        self._reader.announce(later)
        samples, jpegs = self._reader.read(share)
        taken = take(choices, self._parts, samples, len(self._reader.entries))
        start, end = needed(self._parts, self._uses, taken, sizes_of(self._reader, samples))
        return samples, [[tensor_list(jpegs), *as_lists([start, end - start])], [jpegs, taken, start]]


def sizes_of(reader: SampleReader, share: Share) -> Places:
    """Return height and width of the pictures of some occurrences."""
    return reader.split.sizes[reader.samples_of(share)]


def take(
    choices: Sequence[Choices], parts: Sequence[tuple[Transform, int]], share: Share, entries: int
) -> list[Arrays]:
    """Return the choices of each part for the views of `share`. entries: of the plan."""
    return [own.take(viewed(share, views, entries)) for own, (_, views) in zip(choices, parts, strict=True)]


def needed(
    parts: Sequence[tuple[Transform, int]], uses: Sequence[bool], taken: Sequence[Arrays], sizes: Places
) -> tuple[Places, Places]:
    """Return start and end of the window that holds all views of each picture: (n, 2) each.

    uses: whether a part's views count. taken: of each part. sizes: of the pictures.
    """
    starts, ends = [], []
    for own, (transform, views), counts in zip(taken, parts, uses, strict=True):
        if counts:
            start, shape = transform.crop.needed(own, np.tile(sizes, (views, 1)))
            starts.append(start.reshape(views, -1, 2).min(axis=0))
            ends.append((start + shape).reshape(views, -1, 2).max(axis=0))
    return np.min(starts, axis=0), np.max(ends, axis=0)
