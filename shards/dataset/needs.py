"""What the readers of a cache still need, for all processes of the machine: a file for each reader, beside the shards.

A reader holds a lock on its file for as long as it lives. So the file of a process that was killed counts no longer.
The first line of the file names the order of use that it began; a line for each file that it still needs follows.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

PREFIX = ".reader-"
Places = Mapping[str, int]
"""Of each file that a reader still needs, by name: its place in the order of use."""


class Needs:
    """The files that one reader still needs, at first `names`, in the order of use. folder: the cache's.

    Its methods are called under the cache's lock.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._order = _name_order(names)
        self._path = folder / f"{PREFIX}{secrets.token_hex(8)}"
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.write(names)

    def write(self, names: Sequence[str]) -> None:
        """Say which files are still needed, in the order of use."""
        data = "\n".join([self._order, *names]).encode()
        os.pwrite(self._descriptor, data, 0)
        os.ftruncate(self._descriptor, len(data))

    def close(self) -> None:
        """Need nothing any more."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def needs_of(folder: Path) -> list[Places]:
    """Return what each living reader of a cache needs. Called under the cache's lock. Deletes the files of others."""
    return [{name: place for place, name in enumerate(names)} for _, *names in _living(folder)]


def count_readers(folder: Path, names: Sequence[str]) -> int:
    """Return how many living readers began with `names`, in this order. Called under the cache's lock."""
    return sum(order == _name_order(names) for order, *_ in _living(folder))


def _name_order(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _living(folder: Path) -> list[list[str]]:
    """Return the lines of each living reader's file. Deletes the files of others."""
    found: list[list[str]] = []
    for path in folder.glob(f"{PREFIX}*"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            found.append(os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode().split("\n"))
        finally:
            os.close(descriptor)
    return found


def victims(needs: Sequence[Places], wanted: str, held: Sequence[str]) -> list[str]:
    """Return those of `held` that may be deleted to make room for the file `wanted`, in this order.

    First the files that no reader needs, in the order of `held`; then those that are needed last. A file that a reader
    needs before `wanted` is not among them.
    """
    never = 1 << 62

    def next_use(name: str) -> int:
        return min((places[name] for places in needs if name in places), default=never)

    def may_go(name: str) -> bool:
        return all(places[name] > places.get(wanted, -1) for places in needs if name in places)

    return sorted(filter(may_go, held), key=next_use, reverse=True)
