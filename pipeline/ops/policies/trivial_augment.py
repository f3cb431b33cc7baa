"""TrivialAugmentWide: one operation of any magnitude (Müller and Hutter, "TrivialAugment", 2021)."""

from dataclasses import dataclass

import numpy as np

from ....shards import FreelightError
from ..op import Arrays
from .magnitudes import NAMES, values_by_bin
from .policy import Plan, Policy


@dataclass(frozen=True, kw_only=True)
class TrivialAugmentWide(Policy):
    """Apply one of 14 operations with a magnitude out of `bins`, as torchvision's TrivialAugmentWide."""

    name = "trivial augment wide"
    names = NAMES
    layers = 1

    bins: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.bins <= 256:
            raise FreelightError(f"{self.name} `bins` (={self.bins}) must lie in 2..256")

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw operation, magnitude and sign."""
        return {
            "operation": generator.integers(len(self.names), size=(count, 1), dtype=np.uint8),
            "magnitude": generator.integers(self.bins, size=(count, 1), dtype=np.uint16).astype(np.uint8),
            "sign": generator.integers(2, size=(count, 1), dtype=np.uint8),
        }

    def plan(self, drawn: Arrays, side: int) -> Plan:
        """Look the value up."""
        values = values_by_bin(self.names, self.bins, side, wide=True)
        return drawn["operation"], values[drawn["sign"], drawn["operation"], drawn["magnitude"]]
