"""How processes end: workers with their parent, and commands on SIGTERM."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_watched: set[int] = set()


def exit_with_parent(parent: int) -> None:
    """End this process within about a second after its parent process, number `parent`, is gone, however it ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def exits_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into `SystemExit`, so that temporary folders are removed and workers are ended.

    Without it, SIGTERM ends Python at once. A handler that was set before stays, and threads other than the main one
    cannot set one.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one acts at once
        sys.exit(128 + number)

    own = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if own:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if own:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
