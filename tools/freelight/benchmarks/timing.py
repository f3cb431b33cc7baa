"""Time contenders in turn, round by round, so that a noisy machine affects all of them."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from freelight.shards import FreelightError
from freelight.shards.base import progress


@dataclass(frozen=True)
class Lap:
    """One contender's part of a round: number of items, and seconds.

    On a GPU also, per batch: the time on the device, the time until the host had started it all, and the part of the
    latter in which the host waited for data.
    """

    items: int
    seconds: float
    device_ms: float | None = None
    host_ms: float | None = None
    wait_ms: float | None = None

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.seconds


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something to time. lap: does the work once. absent: the reason, if there is no `lap`.

    versions: packages of its own environment, if it has one.
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
    """The laps of every contender, without the warm-up; none for an absent contender."""

    contenders: tuple[Contender, ...]
    laps: dict[str, tuple[Lap, ...]]

    @classmethod
    def joined(cls, several: Iterable["Timings"]) -> "Timings":
        """Return the timings of separate contenders as one."""
        contenders: list[Contender] = []
        laps: dict[str, tuple[Lap, ...]] = {}
        for timings in several:
            contenders += timings.contenders
            laps.update(timings.laps)
        return cls(contenders=tuple(contenders), laps=laps)

    def rate(self, name: str) -> float | None:
        """Return the contender's median rate, items/s; None if it is absent."""
        laps = self.laps[name]
        return median(lap.rate for lap in laps) if laps else None

    def ratio(self, name: str, base: str) -> float | None:
        """Return the contender's rate / that of `base`: the median over rounds of the ratio within a round.

        The laps of a round share the machine's load; separate medians would not.
        """
        pairs = list(zip(self.laps[name], self.laps[base], strict=False))
        return median(mine.rate / its.rate for mine, its in pairs) if pairs else None

    def why_absent(self, *names: str) -> str | None:
        """Name the absent contenders among these, with the reasons; None if none is absent."""
        reasons = [
            f"{who.name} is absent ({who.absent})" for who in self.contenders if who.absent and who.name in names
        ]
        return "; ".join(reasons) or None


def timed(work: Callable[[], int]) -> Lap:
    """Time `work()`, which returns its number of items."""
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

    watch: gets the names of finished laps and the total number of laps, for a progress bar. Raises `FreelightError` if
    a contender finished no item.
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
                    raise FreelightError(f"{name} finished no item; check the input")
                yield name

    for _ in watch(run(), len(racing) * (1 + rounds)):
        pass
    return Timings(contenders=tuple(contenders), laps={name: tuple(found[1:]) for name, found in laps.items()})


@contextmanager
def one_core() -> Iterator[None]:
    """Keep all threads of this process, and processes that it starts meanwhile, on one core."""
    cores = os.sched_getaffinity(0)

    def keep_on(allowed: set[int]) -> None:
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), allowed)
            except ProcessLookupError:  # the thread has ended
                continue

    keep_on({max(cores)})
    try:
        yield
    finally:
        keep_on(cores)
