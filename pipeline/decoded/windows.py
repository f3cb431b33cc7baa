"""The windows of a batch from a store of decoded pixels; an image that is not there is decoded, and stored."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from ..choices import Choices
from ..graph import as_lists, define_decoding, tensor_list
from ..reading import Encoded, ReadAhead, SampleReader, Share
from ..running import run
from ..transform import Transform
from ..windows import AHEAD, Pixels, Places, Windows, needed, sizes_of, take
from .store import DecodedStore


class StoredWindows:
    """Reads windows from `store`: a `WindowSource`. Other arguments as of `JpegWindows`.

    whole: the windows are whole pictures, which stay as they are. The reading thread also decodes what is not there:
    whole, if the store takes it, else its window.
    """

    def __init__(
        self,
        store: DecodedStore,
        parts: Sequence[tuple[Transform, int]],
        reader: SampleReader,
        *,
        whole: bool,
        share_size: int,
        num_threads: int,
    ) -> None:
        self._store = store
        self._parts = parts
        self._whole = whole
        self._reader = reader
        self._reads = ReadAhead()
        self._batches: deque[Windows] = deque()
        inputs = self._inputs = deque[list[Any]]()
        # Without prefetching, so that it never asks for a batch that is not read.
        self._pipeline = define_decoding(
            source=lambda: inputs.popleft(), batch_size=share_size, num_threads=num_threads, prefetch=1
        )

    def start(self, thread: ThreadPoolExecutor, shares: list[Share], choices: Sequence[Choices]) -> None:
        """Start to read `shares` in `thread`."""
        self._store.refresh()
        self._reads.start(thread, partial(self._read, choices), shares, AHEAD)

    def next(self) -> Windows:
        """Return the next batch's windows."""
        self._reads.next_samples()
        return self._batches.popleft()

    def end_epoch(self) -> None:
        """Forget the finished reads; the pipeline has no batch ahead."""
        self._reads.clear()

    def clear(self) -> None:
        """Forget what was read ahead."""
        self._reads.clear()
        self._batches.clear()

    def _read(self, choices: Sequence[Choices], share: Share, later: Share) -> tuple[Share, list[list[Any]]]:
        """Read what is not stored, decode it, and keep the windows for `next`."""
        self._store.check_length()
        samples_of = self._reader.samples_of
        is_later = self._store.has(samples_of(later))
        self._store.announce(samples_of(later[is_later]))
        self._reader.announce(later[~is_later])
        is_stored = self._store.has(samples_of(share))
        found, jpegs = self._reader.read(share[~is_stored])
        is_sound = is_stored | np.isin(share, found)
        share, is_stored = share[is_sound], is_stored[is_sound]
        taken = take(choices, self._parts, share, len(self._reader.entries))
        sizes = sizes_of(self._reader, share)
        is_kept = self._store.takes(samples_of(share)) & ~is_stored
        if self._whole:
            start, end = np.zeros_like(sizes), sizes
        else:
            start, end = needed(self._parts, [True] * len(self._parts), taken, sizes)
            start[is_kept], end[is_kept] = 0, sizes[is_kept]
        decoded = iter(self._decode(share[~is_stored], jpegs, start[~is_stored], end[~is_stored]))
        start[is_stored, 1] = 0  # whole rows
        pixels: list[Pixels | Callable[[], Pixels | None]] = []
        for sample, stored, kept, top, bottom in zip(
            samples_of(share).tolist(), is_stored, is_kept, start[:, 0].tolist(), end[:, 0].tolist(), strict=True
        ):
            if stored and self._whole:
                pixels.append(self._store.view(sample))
            elif stored:
                pixels.append(partial(self._store.read, sample, top, bottom))
            elif kept:
                pixels.append(partial(self._keep, sample, next(decoded)))
            else:
                pixels.append(next(decoded))
        self._batches.append(Windows(share, [], taken, start, pixels))
        return share, []

    def _decode(self, share: Share, jpegs: Sequence[Encoded], start: Places, end: Places) -> list[Pixels]:
        if not len(share):
            return []
        inputs = [tensor_list(jpegs), *as_lists([start, end - start])]  # held until DALI is ready
        self._inputs.append(inputs)
        return [np.asarray(window) for window in run(self._pipeline, share, self._reader)]

    def _keep(self, sample: int, pixels: Pixels) -> Pixels:
        self._store.write(sample, pixels)
        return pixels
