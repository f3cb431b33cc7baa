"""Stop a run when asked to, at the next step, rather than at once."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """While this context is open, SIGTERM and SIGINT set `number`; the same one again acts as it did before.

    told: called when one arrives, to pass it on. Only the main thread of a process may open it.
    """

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.number: int | None = None
        self.told = told
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            # A job in the background ignores SIGINT, and goes on doing so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self._before[number])
        self.told()
