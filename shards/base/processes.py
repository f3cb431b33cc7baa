"""How processes end: workers with their parent, and commands on SIGTERM."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType


def exit_with_parent(parent: int) -> None:
    """End this process within about a second after its parent process, number `parent`, is gone, however it ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def holding_signals() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the end of the block, in which workers start.

    The processes and threads that start meanwhile never get SIGINT: Ctrl-C reaches every process of a command, and its
    workers would print tracebacks. The command ends them. SIGTERM is only put off: an exception while joblib starts
    its threads would end in a traceback.
    """
    resource_tracker.ensure_running()  # starting it would let SIGINT through again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.getsignal(signal.SIGTERM)
    arrived: list[int] = []
    own = threading.current_thread() is threading.main_thread() and callable(handler)
    if own:
        signal.signal(signal.SIGTERM, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        if own:
            signal.signal(signal.SIGTERM, handler)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finally:
            for number in arrived:
                signal.raise_signal(number)


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
