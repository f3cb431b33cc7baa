"""RandAugment: operations of one magnitude, one after the other (Cubuk et al., "RandAugment", 2019)."""

from dataclasses import dataclass

import numpy as np

from ....shards import FreelightError
from ..op import Arrays
from .magnitudes import NAMES, values_by_bin
from .policy import Plan, Policy


@dataclass(frozen=True, kw_only=True)
class RandAugment(Policy):
    """Apply `n` of 14 operations, drawn with replacement, with `magnitude`, as torchvision's RandAugment.

    magnitude: 0..bins - 1, from no change to the strongest; the sign is drawn. `TimmRandAugment` is timm's variant.
    """

    name = "rand augment"
    names = NAMES

    n: int = 2
    magnitude: int = 9
    bins: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise FreelightError(f"{self.name} `n` (={self.n}) must be at least 1")
        if not 2 <= self.bins <= 256:
            raise FreelightError(f"{self.name} `bins` (={self.bins}) must lie in 2..256")
        if not 0 <= self.magnitude < self.bins:
            raise FreelightError(f"{self.name} `magnitude` (={self.magnitude}) must lie in 0..{self.bins - 1}")

    @property
    def layers(self) -> int:
        """Operations of each image."""
        return self.n

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw operations and signs."""
        return {
            "operation": generator.integers(len(self.names), size=(count, self.n), dtype=np.uint8),
            "sign": generator.integers(2, size=(count, self.n), dtype=np.uint8),
        }

    def plan(self, drawn: Arrays, side: int) -> Plan:
        """Look the values up."""
        values = values_by_bin(self.names, self.bins, side, wide=False)[..., self.magnitude]
        return drawn["operation"], values[drawn["sign"], drawn["operation"]]
