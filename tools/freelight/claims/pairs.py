"""Compare two kinds of runs in pairs of equal seeds: mean difference, standard error, and whether it exceeds noise."""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 10_000
QUANTILES = 2000
Errors = Sequence[float | None]
"""Errors, 0..1, of the seeds 0, 1, ... in order. None: the run diverged."""


@dataclass(frozen=True)
class Spread:
    """What the values of several seeds tell of their mean, by Student's t."""

    values: Sequence[float]

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean; None for fewer than two values."""
        return stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else None

    @property
    def margin(self) -> float | None:
        """Half the 95 % confidence interval of the mean; None for fewer than two values."""
        if self.standard_error is None:
            return None
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(self.values) - 1)) * self.standard_error

    @property
    def detectable(self) -> float | None:
        """The smallest true mean that as many seeds would tell from 0 with a power of 80 %.

        None if the values are equal or fewer than two.
        """
        if not self.standard_error:
            return None
        count = len(self.values)
        return self.standard_error * float(brentq(lambda shift: _power(shift, count) - POWER, 0, 1000))

    def seeds_for(self, effect: float) -> int | None:
        """Return the number of seeds that would tell a true mean of `effect`, not 0, from 0 with that power.

        None if the values are equal or fewer than two, or if it would take more than 10,000.
        """
        if not self.standard_error:
            return None
        size = abs(effect) / stdev(self.values)
        counts = range(2, MOST_SEEDS + 1)
        found = bisect.bisect_left(counts, POWER, key=lambda count: _power(size * math.sqrt(count), count))
        return counts[found] if found < len(counts) else None

    def needed(self, effect: float) -> str:
        """Return `seeds_for(effect)` as text; only for a spread whose `detectable` is known."""
        return f"{self.seeds_for(effect) or f'more than {MOST_SEEDS:,}'} seeds"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The errors of two kinds of runs, `names`, at the same seeds. A pair with a diverged run is left out.

    images, split: number of images that every error was measured on, and their split.
    """

    names: tuple[str, str]
    base: Errors
    other: Errors
    images: int
    split: str

    @property
    def whole(self) -> list[tuple[float, float]]:
        """The pairs (base, other) in which neither run diverged."""
        both = zip(self.base, self.other, strict=True)
        return [(base, other) for base, other in both if base is not None and other is not None]

    @property
    def differences(self) -> list[float]:
        """Other minus base for each whole pair, in percentage points."""
        return [100 * (other - base) for base, other in self.whole]

    @property
    def difference(self) -> float | None:
        """Mean difference, in percentage points; None without a whole pair."""
        return mean(self.differences) if self.whole else None

    @property
    def spread(self) -> Spread:
        """The spread of the differences, in percentage points."""
        return Spread(self.differences)

    @property
    def within_noise(self) -> bool | None:
        """Whether the 95 % interval contains 0; None if that cannot be told.

        That needs two pairs, and differences whose standard deviation is at least one image.
        """
        margin = self.spread.margin
        if self.difference is None or margin is None or stdev(self.differences) < 100 / self.images:
            return None
        return abs(self.difference) <= margin

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that as many seeds would tell from 0 with a power of 80 %, in percentage points.

        From the spread of these pairs; None if the size of the noise is unknown.
        """
        return None if self.within_noise is None else self.spread.detectable

    def __str__(self) -> str:
        if self.difference is None:
            return "unknown"
        error = self.spread.standard_error
        noise = "" if error is None else f" +- {error:.2f}"
        return f"{self.difference:+.2f}{noise} points"

    def less(self, paper: float | None) -> str:
        """Return the mean difference minus the paper's, in percentage points, as text; empty if one is unknown."""
        return "" if self.difference is None or paper is None else f"{self.difference - paper:+.2f}"

    def verdict(self, paper: float | None = None) -> str:
        """State the difference, whether it exceeds the noise of the seeds, and what could have been seen.

        paper: the paper's difference, in percentage points.
        """
        runs = dict(zip(self.names, (self.base, self.other), strict=True))
        return f"{self._worth()}{self._could(paper)}{left_out(runs, '; ')}"

    def _could(self, paper: float | None) -> str:
        if self.detectable is None:
            return ""
        least = f"; {self.detectable:.2f} points or more would be found with 80 % power"
        if paper is None:
            return least
        return f"{least}, the paper's {paper:+g} with {self.spread.needed(paper)}"

    def _worth(self) -> str:
        if self.difference is None:
            return "unknown: in every pair a run diverged"
        margin = self.spread.margin
        if margin is None:
            return f"{self} from one pair of runs: the size of the noise is unknown"
        if self.within_noise is None:
            return (
                f"{self} (standard error) over {len(self.whole)} seeds, which differ by less than one of the "
                f"{self.images:,} {self.split} images: the size of the noise is unknown"
            )
        noise = "within noise" if self.within_noise else "more than noise"
        return (
            f"{self} (standard error) over {len(self.whole)} seeds, 95 % interval "
            f"{self.difference - margin:+.2f}..{self.difference + margin:+.2f} over seeds alone, on these "
            f"{self.images:,} {self.split} images: {noise}"
        )

    def table(self) -> tuple[tuple[str, ...], ...]:
        """Return the rows of a table: one per seed, then the means over the whole pairs."""
        lines: list[tuple[str, ...]] = [
            (str(seed), _percent(base), _percent(other), _difference(base, other))
            for seed, (base, other) in enumerate(zip(self.base, self.other, strict=True))
        ]
        if self.whole:
            lines.append(("mean", *(_percent(mean(errors)) for errors in zip(*self.whole, strict=True)), str(self)))
        return (("seed", *(f"{name} %" for name in self.names), "difference"), *lines)

    def figures(self) -> dict[str, Any]:
        """Return the numbers for the record, in percentage points."""
        return {
            "differences": self.differences,
            "mean": self.difference,
            "standard_error": self.spread.standard_error,
            "margin95": self.spread.margin,
            "within_noise": self.within_noise,
            "detectable": self.detectable,
        }


def _power(shift: float, count: int) -> float:
    """Return the power of the two-sided paired t-test at 95 %. shift: true mean difference over its standard error.

    The mean over the quantiles of the deviation that the pairs show; scipy's noncentral t gives NaN for large shifts.
    """
    degrees = count - 1
    shown = np.sqrt(stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, degrees) / degrees)
    bound = stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * shown
    return float(np.mean(stats.norm.cdf(shift - bound) + stats.norm.cdf(-shift - bound)))


def left_out(errors: Mapping[str, Errors], before: str = "") -> str:
    """List the diverged runs, after `before`; empty if there are none."""
    runs = [f"{name} at seed {seed}" for name, found in errors.items() for seed, e in enumerate(found) if e is None]
    return f"{before}diverged and left out, with the other run of the pair: {', '.join(runs)}" if runs else ""


def known(errors: Errors) -> list[float]:
    """Return the errors of the runs that did not diverge, in %."""
    return [100 * error for error in errors if error is not None]


def _percent(error: float | None) -> str:
    return "diverged" if error is None else f"{100 * error:.2f}"


def _difference(base: float | None, other: float | None) -> str:
    return "left out" if base is None or other is None else f"{100 * (other - base):+.2f}"
