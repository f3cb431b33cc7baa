"""How long work proceeds: a bar on a terminal, a line every 30 s elsewhere."""

import functools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

from .console import is_quiet, printable, say

T = TypeVar("T")

RATE_WINDOW = 30
"""Seconds over which the shown rate is measured, so that shards finished before a restart soon no longer count."""
LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


class Pace:
    """How much of a work is done, at which rate, and how long the rest takes. total: None if it is not known."""

    def __init__(self, total: int | None, done: int = 0) -> None:
        self.total = total
        self.done = done
        self._recent = deque([(time.monotonic(), done)])
        self._shown = self._recent[0][0]

    def add(self, count: int) -> float:
        """Count what was done; return the rate, per second, over the last `RATE_WINDOW` seconds."""
        self.done += count
        now = time.monotonic()
        self._recent.append((now, self.done))
        while now - self._recent[0][0] > RATE_WINDOW and len(self._recent) > 2:
            self._recent.popleft()
        then, before = self._recent[0]
        return (self.done - before) / max(now - then, 1e-3)

    def is_line_due(self) -> bool:
        """Tell, once every `LINE_EVERY` seconds, that a line is to be printed."""
        due = time.monotonic() - self._shown >= LINE_EVERY
        if due:
            self._shown = time.monotonic()
        return due

    def left(self, rate: float) -> str:
        """Return the time that the rest takes at this rate, as `2 min left`; empty if it is not known."""
        if self.total is None or rate <= 0:
            return ""
        return f"{duration((self.total - self.done) / rate)} left"


def progress(
    items: Iterable[T], *, length: int | None, label: str, weight: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Yield `items` and show on stderr how many of `length`, by `weight(item)`, are done, the rate and the time left.

    length: None if the total is not known. On a terminal a bar is drawn; elsewhere a line is printed every 30 s, so
    that logs are neither silent nor long. With `--quiet`, nothing is shown.
    """
    pace = Pace(length)
    if is_quiet():
        yield from items
    elif not sys.stderr.isatty():
        for item in items:
            yield item
            rate = pace.add(weight(item))
            if pace.is_line_due():
                done = f"{pace.done:,}" if length is None else f"{pace.done:,} of {length:,}"
                say(", ".join(filter(None, [f"{label}: {done}", f"{rate:.0f}/s", pace.left(rate)])), err=True)
    else:
        nothing: Iterator[T] = iter(tuple[T]())  # without a length, from which the bar would take its own
        with click.progressbar(
            nothing, length=length, label=printable(label), file=sys.stderr, show_pos=True, item_show_func=_rate
        ) as bar:
            for item in items:
                yield item
                count = weight(item)
                bar.update(count, pace.add(count))  # type: ignore[arg-type]


def counting_images(label: str) -> Callable[[Iterable[T], int | None], Iterator[T]]:
    """Return a `watch` function that shows the progress over the `images` of the items."""
    return lambda items, total: progress(items, length=total, label=label, weight=lambda item: item.images)  # type: ignore[attr-defined]


def counting(label: str) -> Callable[[Iterable[T], int | None], Iterator[T]]:
    """Return a `watch` function that shows the progress over the items themselves."""
    return lambda items, total: progress(items, length=total, label=label)


def watch_counts(label: str) -> Callable[[Iterable[int], int], Iterator[int]]:
    """Return a `watch` function that shows the progress over counts. Pickle takes it to other processes."""
    return functools.partial(_watch_counts, label, is_quiet())


def _watch_counts(label: str, quiet: bool, counts: Iterable[int], total: int) -> Iterator[int]:
    return iter(counts) if quiet else progress(counts, length=total, label=label, weight=lambda count: count)


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: `45 s`, `12 min`, `5 h 12 min`, `3 d 4 h`."""
    minutes, hours, days = round(seconds / 60), round(seconds / 3600), int(seconds // 86400)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if hours < 36:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{days} d {round((seconds - 86400 * days) / 3600)} h"


def _rate(rate: object) -> str | None:
    return None if rate is None else f"{rate:.0f}/s"
