"""What the readers of a cache still need, for all processes of the machine: a file for each reader, beside the shards.

A reader holds a lock on its file for as long as it lives. So the file of a process that was killed counts no longer.
"""

import fcntl
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

PREFIX = ".reader-"
Places = Mapping[str, int]
"""Of each file that a reader still needs, by name: its place in the order of use."""


class Needs:
    """The files that one reader still needs. folder: the cache's. Its methods are called under the cache's lock."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{PREFIX}{secrets.token_hex(8)}"
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def write(self, names: Sequence[str]) -> None:
        """Say which files are still needed, in the order of use."""
        data = "\n".join(names).encode()
        os.pwrite(self._descriptor, data, 0)
        os.ftruncate(self._descriptor, len(data))

    def close(self) -> None:
        """Need nothing any more."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def needs_of(folder: Path) -> list[Places]:
    """Return what each living reader of a cache needs. Called under the cache's lock. Deletes the files of others."""
    found: list[Places] = []
    for path in folder.glob(f"{PREFIX}*"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            names = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode().split("\n")
            found.append({name: place for place, name in enumerate(names)})
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
