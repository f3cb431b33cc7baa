"""What an epoch has: a plan lists its samples, and the order arranges them."""

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Plan(Protocol):
    """Which samples an epoch has, and how often: a pure function of (seed, epoch).

    An epoch is a list of *entries*, each with a sample; a sample can have several. Draws belong to entries, and an
    order is a permutation of them: those of `draw_epoch(len(plan), seed=seed, epoch=epoch)`. So all copies of a sample
    have draws of their own. The length is the same in every epoch.
    """

    def __len__(self) -> int:
        """Return the number of entries of an epoch."""

    def entries(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return the sample of each entry: (n,), ascending."""


class Everything:
    """The plan of a loader without another: each of so many samples once."""

    def __init__(self, samples: int) -> None:
        self._entries = np.arange(samples)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return the sample of each entry: entry i is sample i."""
        return self._entries
