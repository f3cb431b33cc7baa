"""AutoAugment: pairs of operations that were searched for a dataset (Cubuk et al., "AutoAugment", 2018)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..op import Arrays
from .magnitudes import NAMES, values_by_bin
from .policy import Plan, Policy

BINS = 10
IMAGENET = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
    (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
)
"""Torchvision's policy for ImageNet: operation, probability and magnitude (0..9) of each half of a pair."""


@dataclass(frozen=True, kw_only=True)
class AutoAugment(Policy):
    """Apply one of 25 pairs of operations, each operation with its own probability, as torchvision's AutoAugment."""

    name = "auto augment"
    names = (*NAMES, "Invert")
    layers = 2

    policy: Literal["imagenet"] = "imagenet"

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the pair, and chance and sign of each operation."""
        return {
            "pair": generator.integers(len(IMAGENET), size=count, dtype=np.uint8),
            "chance": generator.random((count, 2), dtype=np.float32),
            "sign": generator.integers(2, size=(count, 2), dtype=np.uint8),
        }

    def plan(self, drawn: Arrays, side: int) -> Plan:
        """Look the pairs up; an operation that is left out by chance becomes Identity."""
        operation = _OPERATIONS[drawn["pair"]]
        values = values_by_bin(self.names, BINS, side, wide=False)
        is_applied = drawn["chance"] < _PROBABILITIES[drawn["pair"]]
        return (
            np.where(is_applied, operation, self.names.index("Identity")),
            values[drawn["sign"], operation, _MAGNITUDES[drawn["pair"]]],
        )


_OPERATIONS = np.array([[AutoAugment.names.index(name) for name, _, _ in pair] for pair in IMAGENET])
_PROBABILITIES = np.array([[probability for _, probability, _ in pair] for pair in IMAGENET], np.float32)
_MAGNITUDES = np.array([[magnitude for _, _, magnitude in pair] for pair in IMAGENET])
