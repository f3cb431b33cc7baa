"""Horizontal flips of random crops. The graph flips in the same kernel that subtracts the mean."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ...shards.base import check_fields
from ..draws import EpochDraws, shared
from .context import Context
from .op import Arrays, Feed


@dataclass(frozen=True, kw_only=True)
class Flip:
    """probability: of a flip, 0..1. shared_by: the number of consecutive samples, in written order, that share it."""

    probability: float = 0.5
    shared_by: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.probability <= 1:
            raise FreelightError(f"transform: `flip_probability` (={self.probability}) must lie in 0..1")

    def flips(self, draws: EpochDraws) -> npt.NDArray[np.int32]:
        """Return whether each sample is flipped: (n,), 0 or 1."""
        return (shared(draws.flip, self.shared_by) < self.probability).astype(np.int32)

    def feeds(self) -> dict[str, Feed]:
        """Return the type of the flip: 0 or 1."""
        return {"flip": Feed("int32")}

    def choose(self, draws: EpochDraws, context: Context) -> Arrays:
        """Return the flips."""
        return {"flip": self.flips(draws)}
