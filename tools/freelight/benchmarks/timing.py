"""Time contenders against one another: in turn, round by round, so that a noisy machine is noisy for all of them."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from freelight.shards import FreelightError
from freelight.shards.base.console import progress


@dataclass(frozen=True)
class Lap:
    """One contender's part of a round: how many items it did in how many seconds."""

    items: int
    seconds: float

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Somebody to be timed: `lap()` does the work once. Without it, `absent` says why there is none.

    `versions` are those of its own environment, when that is not ours.
    """

    name: str
    lap: Callable[[], Lap] | None = None
    absent: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.lap is None) == (self.absent is None):
            raise ValueError(f"contender {self.name!r} must have either `lap` or the reason why it is `absent`")


@dataclass(frozen=True, kw_only=True)
class Timings:
    """The laps of every contender, in their order; none for an absent one. Warm-up excluded."""

    contenders: tuple[Contender, ...]
    laps: dict[str, tuple[Lap, ...]]

    def rate(self, name: str) -> float | None:
        """Return the median of the contender's items/s; None when it is absent."""
        laps = self.laps[name]
        return median(lap.rate for lap in laps) if laps else None

    def ratio(self, name: str, base: str) -> float | None:
        """Return how many times faster than `base` the contender is: the median over rounds of the ratio within each.

        A round's two laps ran next to each other and share the machine's mood; medians taken apart would not.
        """
        pairs = list(zip(self.laps[name], self.laps[base], strict=False))
        return median(mine.rate / its.rate for mine, its in pairs) if pairs else None

    def why_absent(self, *names: str) -> str | None:
        """Name the absent ones among these contenders, each with the reason; None when all took part."""
        reasons = [
            f"{who.name} is absent ({who.absent})" for who in self.contenders if who.absent and who.name in names
        ]
        return "; ".join(reasons) or None


def timed(work: Callable[[], int]) -> Lap:
    """Do `work()`, which returns the number of items it did, on the clock."""
    start = time.perf_counter()
    items = work()
    return Lap(items, time.perf_counter() - start)


def interleave(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    watch: Callable[[Iterable[str], int], Iterable[str]] = lambda laps, total: progress(
        laps, length=total, label="laps"
    ),
) -> Timings:
    """Run every contender once to warm up, then A B C A B C ... for `rounds` rounds.

    `watch(names, laps in all)` sees the name of every finished lap, for a progress bar. Raises `FreelightError` when a
    contender did no item at all.
    """
    if rounds < 1:
        raise FreelightError(f"`rounds` (={rounds}) must be at least 1")
    laps: dict[str, list[Lap]] = {contender.name: [] for contender in contenders}
    if len(laps) != len(contenders):
        raise ValueError(f"two contenders share a name: {[contender.name for contender in contenders]}")
    racing = [(contender.name, contender.lap) for contender in contenders if contender.lap]

    def run() -> Iterator[str]:
        for _ in range(1 + rounds):
            for name, lap in racing:
                laps[name].append(lap())
                if not laps[name][-1].items:
                    raise FreelightError(f"{name} did not finish a single item; is the input sound?")
                yield name

    for _ in watch(run(), len(racing) * (1 + rounds)):
        pass
    return Timings(contenders=tuple(contenders), laps={name: tuple(found[1:]) for name, found in laps.items()})


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process's threads, and the processes started meanwhile, on one core: a library's own threads too."""
    cores = os.sched_getaffinity(0)

    def keep_on(allowed: set[int]) -> None:
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), allowed)
            except ProcessLookupError:  # it has ended since
                continue

    keep_on({max(cores)})
    try:
        yield
    finally:
        keep_on(cores)
