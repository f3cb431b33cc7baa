"""Keep a second run from writing to the same URL: by an object that a store creates only if there is none.

The object is `.partial/lock-1`. The run that holds it changes it every few seconds. A run that takes it over, because
its holder is dead, creates `.partial/lock-2`, and so on: of several that try, a store lets one succeed. The highest
number counts.

A store that cannot create on this condition may let two runs begin at the same moment. They overwrite each other's
object; the first one sees that at its next sign of life, and stops.
"""

import contextlib
import errno
import functools
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base import FreelightError, StorageOptions, open_store
from .plan import LOCK, PARTIAL

BEAT = 10.0
"""Seconds between two signs of life of the run that holds a lock."""
SILENCE = 60.0
"""Seconds without a sign of life after which the holder counts as dead; at once if its machine is this one."""
LOOK = 1.0
"""Seconds between two looks for a sign of life."""
MAX_LOCK = 4096
"""Bytes of a lock that are read."""
FAREWELL = 5.0
"""Seconds that the end of a run waits for the deletion of its lock."""
_LOCK = re.compile(rf"{re.escape(PARTIAL)}/{LOCK}-([0-9]{{1,9}})")

Ask = Callable[[Callable[[Any, str], Any]], Any]
"""Calls a function with the file system and the path of the URL, and tries again after errors."""


def is_lock(name: str) -> bool:
    """Tell whether a file of an unfinished dataset is a lock."""
    return _LOCK.fullmatch(name) is not None


class UrlLock:
    """A lock of `url` that this process holds. waited: whether it was taken over after a time without signs of life.

    ask: as of `Ask`. options: as of `open_store`.
    """

    def __init__(self, url: str, ask: Ask, options: StorageOptions) -> None:
        self._url = url
        self._ask = ask
        self._options = options
        self._said = {**_this_process(), "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}
        self._token = secrets.token_hex(8)
        self._lost = ""
        self._ended = threading.Event()
        self.waited = False
        self._number = self._acquire()
        self._thread = threading.Thread(target=self._beat, name="freelight-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `FreelightError` if another run has taken the lock over."""
        if self._lost:
            raise FreelightError(f"{self._url}: {self._lost} took the lock over from this run, and continues its work")

    def release(self) -> None:
        """Delete the lock. A store that fails now may keep it."""
        self._ended.set()
        self._thread.join(FAREWELL)

    def _acquire(self) -> int:
        """Return the number of the lock that was created. Raises `FreelightError` if another run holds it."""
        while True:
            number: int
            number, content = self._ask(_newest)
            if number:
                self._expect_dead(number, content)
            if self._ask(functools.partial(self._create, number + 1)):
                return number + 1

    def _expect_dead(self, number: int, content: bytes) -> None:
        """Return when the holder of a lock is dead."""
        holder = _parse(content)
        is_alive = _is_alive(holder)
        if is_alive is None:
            logging.getLogger(__name__).warning(
                "%s is locked by %s; waiting up to %d s for a sign of life", self._url, _describe(holder), SILENCE
            )
            end = time.monotonic() + SILENCE
            while not is_alive and time.monotonic() < end:
                time.sleep(min(LOOK, SILENCE / 4))
                is_alive = self._ask(_newest) != (number, content)
            self.waited = True
        if is_alive:
            raise FreelightError(
                f"another run is writing {self._url}: {_describe(holder)}; wait for it or end it, then run the same "
                "command again, or choose another `out`"
            )
        logging.getLogger(__name__).warning("%s: the lock of %s is taken over", self._url, _describe(holder))

    def _create(self, number: int, files: Any, root: str) -> bool:
        """Create a lock of this number; return whether it is this run's."""
        path, content = f"{root}/{PARTIAL}/{LOCK}-{number}", self._content(0)
        try:
            _create_new(files, path, content)
        except Exception:  # of a type of the store's own if the object exists; it may also be this run's
            files.invalidate_cache()
            if not files.exists(path):
                raise
        return self._is_mine(_read(files, path))

    def _content(self, beat: int) -> bytes:
        return json.dumps({**self._said, "token": self._token, "beat": beat}).encode()

    def _is_mine(self, content: bytes) -> bool:
        return _parse(content).get("token") == self._token

    def _beat(self) -> None:
        """Change the lock's object until the end, or until another run has taken it over; then delete it."""
        number = 0
        while not self._ended.wait(BEAT):
            number += 1
            with contextlib.suppress(Exception):  # of any type; a store that stays away ends the run by its uploads
                files, root = open_store(self._url, self._options)
                newest, content = _newest(files, root)
                if newest and not self._is_mine(content):
                    self._lost = _describe(_parse(content))
                    return
                files.pipe_file(f"{root}/{PARTIAL}/{LOCK}-{self._number}", self._content(number))
        with contextlib.suppress(Exception):
            files, root = open_store(self._url, self._options)
            if _newest(files, root)[0] == self._number:
                files.rm_file(f"{root}/{PARTIAL}/{LOCK}-{self._number}")


@contextmanager
def lock_url(url: str, ask: Ask, options: StorageOptions) -> Iterator[UrlLock]:
    """Hold the lock of a URL. Raises `FreelightError` if another run holds it."""
    lock = UrlLock(url, ask, options)
    try:
        yield lock
    finally:
        lock.release()


def _newest(files: Any, root: str) -> tuple[int, bytes]:
    """Return the highest number of a lock, and its content; 0 without one."""
    files.invalidate_cache()
    folder = f"{root}/{PARTIAL}"
    names = [str(path)[len(root) :].lstrip("/") for path in files.find(folder)] if files.exists(folder) else []
    numbers = [int(found[1]) for name in names if (found := _LOCK.fullmatch(name))]
    for number in sorted(numbers, reverse=True):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            return number, _read(files, f"{folder}/{LOCK}-{number}")
    return 0, b""


def _read(files: Any, path: str) -> bytes:
    content: bytes = files.cat_file(path, start=0, end=MAX_LOCK)
    return content


def _create_new(files: Any, path: str, content: bytes) -> None:
    """Create a file if it does not exist; with an error if it does."""
    if "file" in files.protocol:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.open(path, "xb") as file:  # the general way below looks first, and creates then
            file.write(content)
        return
    try:
        files.pipe_file(path, content, mode="create")
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        files.pipe_file(path, content)  # a store that refuses the condition


def _this_process() -> dict[str, Any]:
    """Return what identifies this process, also among those of containers of this machine."""
    number = os.getpid()
    return {
        "host": os.uname().nodename,
        "process": number,
        "started": _start_of(number),
        "machine": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "namespace": os.readlink("/proc/self/ns/pid"),
    }


def _start_of(process: int) -> int | None:
    """Return when a process started, in ticks of the machine; None without such a process."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    return None


def _parse(content: bytes) -> dict[str, Any]:
    """Return the content of a lock; nothing for one that no run wrote."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    return {}


def _is_alive(holder: dict[str, Any]) -> bool | None:
    """Tell whether the holder of a lock lives; None if signs of life must tell: it is elsewhere, or this process."""
    here = _this_process()
    if (
        any(holder.get(name) != here[name] for name in ("machine", "namespace"))
        or holder.get("process") == here["process"]
    ):
        return None
    process, started = holder.get("process"), holder.get("started")
    return isinstance(process, int) and started is not None and _start_of(process) == started


def _describe(holder: dict[str, Any]) -> str:
    process, host, since = (ascii(holder.get(name, "?"))[:80].strip("'") for name in ("process", "host", "since"))
    return f"process {process} on {host}, since {since}"
