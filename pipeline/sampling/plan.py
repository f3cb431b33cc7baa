"""What an epoch has: a plan lists its samples, and the order arranges them."""

import functools
import hashlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int32]
"""Indices of samples in a split, (n,)."""


class Plan(Protocol):
    """Which samples an epoch has, and how often: a pure function of (seed, epoch).

    An epoch is a list of *entries*, each with a sample; a sample can have several. Draws belong to entries, and an
    order is a permutation of them: those of `draw_epoch(len(plan), seed=seed, epoch=epoch)`. So all copies of a sample
    have draws of their own. The length is the same in every epoch.
    """

    @property
    def text(self) -> str:
        """What equal plans have in common, for a loader's state; empty if each sample of the split comes once."""

    def __len__(self) -> int:
        """Return the number of entries of an epoch."""

    def entries(self, seed: int, epoch: int) -> Samples:
        """Return the sample of each entry, ascending."""


class Once:
    """The plan in which each of `samples`, which ascend, comes once. size: of the split."""

    def __init__(self, samples: Samples, size: int) -> None:
        self._samples = samples
        self._size = size

    def __len__(self) -> int:
        return len(self._samples)

    @functools.cached_property
    def text(self) -> str:
        """Number and hash of the samples, if they are not all."""
        return f"subset of {digest(self._samples)}" if len(self) < self._size else ""

    def entries(self, seed: int, epoch: int) -> Samples:
        """Return the sample of each entry: the same in every epoch."""
        return self._samples


def digest(values: npt.NDArray[Any]) -> str:
    """Return the number of values, and a hash of them."""
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return f"{len(values)} ({hashlib.sha256(data.data).hexdigest()[:16]})"
