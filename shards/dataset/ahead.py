"""Fetch the shards that a reader will use, in the order of use, as far ahead as the cache has room."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ..base import FetchStoppedError, FreelightError
from .cache import ShardCache
from .manifest import ShardInfo
from .needs import Needs, count_readers

AT_ONCE = 8
"""Shards that a reader fetches at once."""
LOOK = 0.2
"""Seconds between two looks whether another process has finished a shard."""
PATIENCE = 20.0
"""Seconds to wait for room that other readers, or this one's own step, do not give; after that none is waited for."""
GRACE = 15.0
"""Seconds after its start for which a reader keeps what it has used while others of its run have not started."""
SAY_AFTER, SAY_EVERY = 20.0, 30.0
"""Seconds of waiting for a shard before the first line about it, and between two lines."""


class FetchAhead:
    """Fetches `shards`, which a reader uses in this order, in the background, and protects them until `finish`.

    What readers of other processes fetch is not fetched again, and what they need first is not deleted. processes: how
    many of this machine use the same shards, in the same order; while one has not begun, what is used is kept for it.
    """

    def __init__(self, cache: ShardCache, shards: Sequence[ShardInfo], *, processes: int = 1) -> None:
        self._cache = cache
        self._order = [shard.name for shard in shards]
        self._processes = processes
        self._keeps_until = time.monotonic() + GRACE
        self._kept: list[str] = []
        self._left = {shard.name: shard for shard in shards}  # in the order of use
        self._coming = dict(self._left)
        self._fetching: set[str] = set()
        self._lacks_room = False  # the next shard does
        self._patience = PATIENCE
        self._error: Exception | None = None
        self._is_closed = False
        self._changed = threading.Condition()
        self._fetcher = cache.fetcher()
        with cache.lock("room"):
            self._needs = Needs(cache.folder, self._order)
        self._workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="freelight-fetch")
        self._thread = threading.Thread(target=self._run, name="freelight-ahead", daemon=True)
        self._thread.start()

    def finish(self, shards: Sequence[ShardInfo]) -> None:
        """Need these shards no more."""
        with self._changed:
            self._kept += [shard.name for shard in shards]
            for shard in shards:
                self._coming.pop(shard.name, None)
        self._release()

    def wait(self, shard: ShardInfo) -> None:
        """Return when a shard was fetched; or when only `ShardCache.open_shard` can.

        Says what it waits for after 20 s. Raises the error of a fetch that failed.
        """
        begin = time.monotonic()
        in_vain, say_at = begin, begin + SAY_AFTER
        with self._changed:
            while not self._cache.has(shard):
                if self._error is not None:
                    raise self._error
                if self._is_closed or shard.name not in self._coming:
                    return
                now = time.monotonic()
                if not self._lacks_room or shard.name in self._fetching:
                    in_vain = now
                elif now - in_vain >= self._patience:
                    if self._patience:
                        logging.getLogger(__name__).warning(
                            "the cache %s is too small for its readers, which fetch shards again; allow more "
                            "--cache-bytes",
                            self._cache.folder,
                        )
                    self._patience = 0.0
                    return
                if now >= say_at:
                    logging.getLogger(__name__).warning(
                        "%s/%s: %s of %s bytes came in %s s; the loader waits for it",
                        self._cache.url,
                        shard.name,
                        self._cache.bytes_come(shard),
                        shard.bytes,
                        round(now - begin),
                    )
                    say_at = now + SAY_EVERY
                self._changed.wait(LOOK / 4)

    def close(self) -> None:
        """End the fetches."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._fetcher.close()
        self._thread.join()
        self._workers.shutdown()
        with contextlib.suppress(OSError), self._cache.lock("room"):  # the folder of the cache may be gone
            self._needs.close()

    def _release(self) -> None:
        """Let the cache delete what was used, unless others of the run have yet to begin."""
        with self._changed:
            if not self._kept:
                return
        with self._cache.naming_cache(), self._cache.lock("room"):
            if time.monotonic() < self._keeps_until:
                if count_readers(self._cache.folder, self._order) < self._processes:
                    return
                self._keeps_until = 0.0
            with self._changed:
                for name in self._kept:
                    self._left.pop(name, None)
                self._kept.clear()
                names = list(self._left)
            self._needs.write(names)
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        """Give the workers one shard after the other, until nothing is left, or until an error."""
        try:
            with self._cache.naming_cache():
                while (taken := self._take()) is not None:
                    self._workers.submit(self._fetch, *taken)
        except FreelightError as error:
            self._fail(error)
        except RuntimeError as error:  # the interpreter ends in the middle of an iteration, and waits for the reader
            self._fail(error)

    def _take(self) -> tuple[ShardInfo, int] | None:
        """Return the next shard for which there is room, and its lock; None at the end."""
        while True:
            self._release()
            with self._changed:
                if self._is_closed or self._error is not None or not self._coming:
                    return None
                coming = [] if len(self._fetching) >= AT_ONCE else list(self._coming.values())
            held = set(os.listdir(self._cache.folder)) if coming else set()
            for shard in coming:
                # What another process fetches is locked.
                lock = None if shard.name in held else self._cache.try_lock(shard.name)
                if lock is None:
                    continue
                is_taken = False
                try:
                    if not self._cache.has(shard):
                        is_taken = self._cache.make_room(shard)
                        self._lacks_room = not is_taken
                        if not is_taken:
                            break  # what is needed first comes first
                        self._fetching.add(shard.name)
                        return shard, lock
                finally:
                    if not is_taken:
                        os.close(lock)
            with self._changed:
                self._changed.wait(LOOK)

    def _fetch(self, shard: ShardInfo, lock: int) -> None:
        try:
            with self._cache.naming_cache():
                self._cache.bring(shard, self._fetcher)
        except FetchStoppedError:
            pass
        except FreelightError as error:
            self._fail(error)
        finally:
            os.close(lock)
            with self._changed:
                self._fetching.discard(shard.name)
                self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()
