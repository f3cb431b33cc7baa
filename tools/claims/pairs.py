"""Runs compared in pairs of one seed: their difference, its standard error, and whether it is more than noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """base, other: errors, 0..1, of the same seeds in the same order."""

    base: Sequence[float]
    other: Sequence[float]

    @property
    def differences(self) -> list[float]:
        """Other less base, in percentage points."""
        return [100 * (other - base) for base, other in zip(self.base, self.other, strict=True)]

    @property
    def standard_error(self) -> float | None:
        """Of the mean difference, percentage points; None for one pair."""
        found = self.differences
        return stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None

    @property
    def margin(self) -> float | None:
        """Half of the 95 % confidence interval of the mean difference (Student's t), percentage points."""
        if self.standard_error is None:
            return None
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(self.base) - 1)) * self.standard_error

    @property
    def within_noise(self) -> bool | None:
        """Whether that interval holds 0; None for one pair, where it is not known."""
        return None if self.margin is None else abs(mean(self.differences)) <= self.margin

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" +- {self.standard_error:.2f}"
        return f"{mean(self.differences):+.2f}{error} points"

    def verdict(self) -> str:
        """Say what the difference is worth."""
        if self.margin is None:
            return f"{self} from one pair of runs: how large the noise is, is not known"
        interval = (
            f"95 % interval {mean(self.differences) - self.margin:+.2f}..{mean(self.differences) + self.margin:+.2f}"
        )
        noise = "within noise" if self.within_noise else "more than noise"
        return f"{self} (standard error) over {len(self.base)} seeds, {interval}: {noise}"

    def table(self, base: str, other: str) -> tuple[tuple[str, ...], ...]:
        """Return a line a seed, and the means with their standard errors, as cells."""
        lines = [
            (str(seed), f"{100 * one:.2f}", f"{100 * two:.2f}", f"{difference:+.2f}")
            for seed, (one, two, difference) in enumerate(zip(self.base, self.other, self.differences, strict=True))
        ]
        means = ("mean", f"{100 * mean(self.base):.2f}", f"{100 * mean(self.other):.2f}", str(self))
        return (("seed", f"{base} %", f"{other} %", "difference"), *lines, means)

    def figures(self) -> dict[str, Any]:
        """Return the numbers, in percentage points."""
        return {
            "differences": self.differences,
            "mean": mean(self.differences),
            "standard_error": self.standard_error,
            "margin95": self.margin,
            "within_noise": self.within_noise,
        }
