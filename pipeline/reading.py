"""Read the samples of an epoch ahead of their use, check them, and skip damaged ones on request."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..shards import FreelightError, Split
from ..shards.base import UnavailableError, whole_number
from ..shards.dataset import JoinedSplit
from .draws import Order
from .memory import Memory
from .sampling import Samples

OnError = Literal["raise", "skip"]
Share = npt.NDArray[np.int32]
"""Occurrences, as `repeats.py` numbers them; without repeats, entries of a sampling plan."""
Encoded = bytes | npt.NDArray[np.uint8]
"""An encoded image."""


def reader_thread() -> ThreadPoolExecutor:
    """Return an executor whose one thread starts with the first read."""
    return ThreadPoolExecutor(1, thread_name_prefix="freelight-read")


def check_cache(split: Split, order: Order, window: int | None = None) -> None:
    """Raise `FreelightError` if remote shards have no cache, or too small a one for the order.

    window: number of shards that the order `windowed` holds; one more is fetched ahead.
    """
    if isinstance(split, JoinedSplit):
        for part in split.parts:
            check_cache(part, order, window)
        return
    split.require_cache()
    if split.cache is None or order == "sequential":
        return
    sizes = sorted((shard.bytes for shard in split.info.shards), reverse=True)
    size = sum(sizes if window is None else sizes[: window + 1])
    if split.cache.limit < size:
        what = "a global order reads all" if window is None else f"a window of {window} shards, and one ahead, reads"
        instead = "order='windowed'" if window is None else "a smaller `window`"
        raise FreelightError(
            f"{what} of {split.name}'s {size} bytes at random, but the cache holds {split.cache.limit}: give "
            f"cache_bytes={size}, or {instead}"
        )


class UndecodableError(FreelightError):
    """The bytes of `sample` match their checksum, but they do not decode."""

    def __init__(self, message: str, sample: int) -> None:
        super().__init__(message)
        self.sample = sample


class SampleReader:
    """Read batches of JPEGs of a split. `bytes_read` counts; `skipped` maps each skipped sample to the reason.

    on_error: `raise` an error for a damaged sample, or `skip` up to `max_skipped` of them.
    """

    def __init__(self, split: Split, *, on_error: OnError = "raise", max_skipped: int = 0) -> None:
        if on_error not in get_args(OnError):
            raise FreelightError(f"`on_error` {on_error!r} is not one of {', '.join(get_args(OnError))}")
        self.split = split
        self.on_error = on_error
        self.max_skipped = whole_number("max_skipped", max_skipped)
        self.bytes_read = 0
        self._memory = Memory()
        self.skipped: dict[int, str] = {}
        self._entries: Samples | None = None

    @property
    def entries(self) -> Samples:
        """The sample of each entry; entry i is sample i until `begin`."""
        if self._entries is None:
            self._entries = np.arange(len(self.split), dtype=np.int32)
        return self._entries

    def begin(self, entries: Samples) -> None:
        """Take the sample of each entry of the permutation that is read next."""
        self._entries = entries

    def samples_of(self, share: Share) -> Samples:
        """Return the sample of each occurrence."""
        return self.entries[share % len(self.entries)]

    def start(self, steps: Sequence[Share], *, window: int | None = None, processes: int = 1) -> None:
        """Say which occurrences will be read on all ranks, step by step; each step is one call of `read`.

        window, processes: as of `Split.start`.
        """
        occurrences = np.concatenate([*steps, np.empty(0, np.int32)])
        self.split.start(
            self.samples_of(occurrences), [len(step) for step in steps], window=window, processes=processes
        )

    def announce(self, share: Share) -> None:
        """Ask the storage to fetch `share` ahead. Errors are left for `read` to report."""
        with suppress(FreelightError):
            self.split.prefetch(self.samples_of(share))

    def read(self, share: Share) -> tuple[Share, list[Encoded]]:
        """Return the undamaged occurrences of `share`, and their JPEGs. Each sample is read once."""
        samples = self.samples_of(share).tolist()
        wanted = [sample for sample in dict.fromkeys(samples) if sample not in self.skipped]
        found = self.split.read_all(np.array(wanted), self._memory.take) if wanted else []
        jpegs: dict[int, Encoded] = {}
        for sample, jpeg in zip(wanted, found, strict=True):
            checked = self._read_again(sample) if jpeg is None else jpeg
            if checked is not None:
                jpegs[sample] = checked
        self.bytes_read += sum(map(len, jpegs.values()))
        self.split.end_step()
        kept = np.array([sample in jpegs for sample in samples], bool)
        return share[kept], [jpegs[sample] for sample in samples if sample in jpegs]

    def _read_again(self, sample: int) -> bytes | None:
        """Return the JPEG of a sample in which something is wrong, or None if it is skipped from now on."""
        try:
            return self.split.read(sample)
        except UnavailableError:
            raise
        except FreelightError as error:
            self.skip(sample, error)
        except OSError as error:
            where = self.split.describe(sample)
            self.skip(sample, FreelightError(f"{where} cannot be read ({error.strerror}); check the storage"))
        return None

    def skip(self, sample: int, error: FreelightError) -> None:
        """Skip a damaged sample from now on; raise `error` if `on_error` is `raise` or `max_skipped` is exceeded."""
        if self.on_error == "raise":
            raise error
        self.skipped[sample] = str(error)
        if len(self.skipped) > self.max_skipped:
            raise FreelightError(
                f"more than `max_skipped` (={self.max_skipped}) samples are damaged; the latest: {error}"
            ) from error

    def prove_decodable(self, share: Share, cause: Exception) -> None:
        """Raise `UndecodableError` for the first sample of `share` that does not decode.

        cause: DALI's error, which names the failed operator but not the sample.
        """
        for sample in dict.fromkeys(self.samples_of(share).tolist()):
            try:
                self.split.decode(sample, self.split.read(sample))
            except UnavailableError:
                raise
            except FreelightError as error:
                raise UndecodableError(str(error), sample) from cause


def _submit(thread: ThreadPoolExecutor, read: Callable[..., Any], *shares: Share) -> Future[Any]:
    try:
        return thread.submit(read, *shares)
    except RuntimeError:  # the iteration ended while a resizer's thread asks for more
        raise CancelledError from None


class ReadAhead:
    """The reads of one iteration, a few batches ahead of DALI: inputs of graphs, and the samples they belong to.

    graphs: how many take inputs. Each takes every batch.
    """

    def __init__(self, graphs: int = 1) -> None:
        # Reads are submitted one by one: memory holds a few batches of JPEGs, not an epoch.
        self._pending: Iterator[Future[tuple[Share, list[list[Any]]]]] = iter(())
        self._for_graphs: list[deque[Future[tuple[Share, list[list[Any]]]]]] = [deque() for _ in range(graphs)]
        self._for_loader: deque[Future[tuple[Share, list[list[Any]]]]] = deque()
        self._spent: list[list[Any]] = []
        self._ahead = 0

    def start(
        self,
        thread: ThreadPoolExecutor,
        read: Callable[[Share, Share], tuple[Share, list[list[Any]]]],
        shares: list[Share],
        ahead: int,
    ) -> None:
        """Read `shares` one by one in a thread, at most `ahead` shares before they are needed.

        `read(share, later)` returns the undamaged samples and each graph's inputs; `later` is a share further ahead.
        """

        def read_next(share: Share, soon: Share) -> tuple[Share, list[list[Any]]]:
            self._spent.clear()
            return read(share, soon)

        nothing = np.empty(0, np.int32)
        later = itertools.chain(shares[ahead:], itertools.repeat(nothing))
        self._pending = (_submit(thread, read_next, share, soon) for share, soon in zip(shares, later, strict=False))
        self._ahead = ahead
        self._submit(ahead)

    def next_inputs(self, graph: int) -> list[Any]:
        """Return a graph's inputs of its next batch, or raise the error of its read. Empty shares are left out.

        Raises `StopIteration` after the last batch.
        """
        waiting = self._for_graphs[graph]
        while waiting:
            if len(waiting) <= self._ahead:  # else another graph, which is ahead of this one, has asked for it
                self._submit(1)
            samples, inputs = waiting.popleft().result()
            if len(samples):
                return inputs[graph]
        raise StopIteration

    def next_samples(self) -> Share:
        """Return the next batch's samples, possibly none."""
        if not self._for_loader:  # the graph does not ask for empty shares
            self._submit(1)
        return self._for_loader.popleft().result()[0]

    def free(self, inputs: list[Any]) -> None:
        """Let the thread that reads free a batch's inputs. It takes 0.1 ms."""
        self._spent.append(inputs)

    def clear(self) -> None:
        """Forget all reads."""
        for waiting in (*self._for_graphs, self._for_loader):
            waiting.clear()
        self._pending = iter(())

    def _submit(self, reads: int) -> None:
        for future in itertools.islice(self._pending, reads):
            for waiting in (*self._for_graphs, self._for_loader):
                waiting.append(future)
