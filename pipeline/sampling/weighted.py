"""Samples drawn by weight, with replacement."""

import functools

import numpy as np
import numpy.typing as npt

from ..seeds import seeds_of
from .plan import Samples, digest


class Weighted:
    """The plan in which each of `length` entries is one of `samples`, drawn in proportion to its weight.

    This is the law of torch's `WeightedRandomSampler` with replacement. weights: of `samples`, not negative, not all 0.
    """

    def __init__(self, samples: Samples, weights: npt.NDArray[np.float64], length: int) -> None:
        self._samples = samples
        self._weights = weights
        self._length = length

    def __len__(self) -> int:
        return self._length

    @functools.cached_property
    def text(self) -> str:
        """Length of an epoch, and hashes of weights and samples."""
        return f"{self._length} by weights {digest(self._weights)} of {digest(self._samples)}"

    def entries(self, seed: int, epoch: int) -> Samples:
        """Return the sample of each entry, ascending. 1,281,167 of as many samples take 0.05 s and 36 MB."""
        drawn = np.random.Generator(np.random.Philox(seeds_of("weights", seed, epoch))).random(self._length)
        drawn.sort()
        bounds = self._weights.cumsum()
        drawn *= bounds[-1]
        return self._samples[np.searchsorted(bounds, drawn, side="right")]
