"""Turn SIGTERM and SIGINT into a request to stop after the current step."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """While this context is open, SIGTERM and SIGINT only set `number`; a second one of the same kind acts as usual.

    number: the signal received; None until then. on_signal: called when a signal arrives, for example to forward it.
    Only the main thread of a process may open the context.
    """

    def __init__(self, on_signal: Callable[[], None] = lambda: None) -> None:
        self.number: int | None = None
        self.on_signal = on_signal
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            # A shell starts background jobs with SIGINT ignored; they must keep ignoring it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self._before[number])
        self.on_signal()
