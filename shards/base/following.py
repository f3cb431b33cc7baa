"""Do a second step of each result in threads, such as an upload, while the next results are made."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

R = TypeVar("R")


def follow(
    results: Generator[R, None, None], then: Callable[[R, threading.Event], R], *, threads: int
) -> Generator[R, None, None]:
    """Yield `then(result, stop)` for each result, in order of completion; `threads` of them run at once.

    No further result is taken while all threads are at work. An error of `then` is raised when the next result comes.
    Closing the generator closes `results` and sets `stop`, after which `then` should return soon; nothing waits for it.
    """
    waiting: queue.SimpleQueue[R | None] = queue.SimpleQueue()
    ended: queue.SimpleQueue[R | Exception] = queue.SimpleQueue()
    stop = threading.Event()

    def work() -> None:
        while (result := waiting.get()) is not None:
            try:
                ended.put(then(result, stop))
            except Exception as error:  # raised below
                ended.put(error)

    def take() -> R:
        found = ended.get()
        if isinstance(found, Exception):
            raise found
        return found

    running = started = 0
    try:
        for result in results:
            while running == threads or not ended.empty():
                yield take()
                running -= 1
            waiting.put(result)
            running += 1
            if started < running:
                threading.Thread(target=work, name="freelight-follow", daemon=True).start()
                started += 1
        while running:
            yield take()
            running -= 1
    finally:
        stop.set()
        for _ in range(started):
            waiting.put(None)
        results.close()
