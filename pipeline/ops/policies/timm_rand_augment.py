"""timm's RandAugment: noisy magnitudes, each operation with a probability, and the strings that name its settings."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....shards import FreelightError
from ..op import Arrays
from .operations import Values
from .policy import Plan, Policy

NAMES = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast"),
    *("Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY"),
)
"""Those of timm's `_RAND_TRANSFORMS` and `_RAND_INCREASING_TRANSFORMS`, each with the same probability."""

IMAGENET_MEAN = (124, 116, 104)
"""ImageNet's mean, rounded: the fill of timm's `create_transform`."""

PARTS: dict[str, tuple[str, type]] = {
    "m": ("magnitude", float),
    "n": ("n", int),
    "p": ("p", float),
    "mstd": ("std", float),
    "mmax": ("maximum", float),
    "inc": ("increasing", bool),
}
"""Field and type of each part of a timm string."""

NUMBERS = {int: "a whole number", bool: "0 or 1"}

UNIFORM = 100
"""Above this standard deviation timm draws magnitudes uniformly from 0 to `magnitude`."""


@dataclass(frozen=True, kw_only=True)
class TimmRandAugment(Policy):
    """Draw `n` of 15 operations, with replacement, and apply each with probability `p`, as timm's RandAugment.

    magnitude: 0..10, or more with a higher `maximum`, at which drawn magnitudes end. std: of the normal noise that is
    added to the magnitude; above 100 the magnitude is uniform between 0 and `magnitude`. increasing: whether a greater
    magnitude always means a stronger change (`inc1`); without it Posterize and Solarize become weaker, and Color,
    Contrast, Brightness and Sharpness run from 0.1 to 1.9.
    """

    name = "timm rand augment"
    names = (*NAMES, "Identity")

    fill: int | tuple[int, int, int] = IMAGENET_MEAN
    n: int = 2
    magnitude: float = 10.0
    increasing: bool = False
    std: float = 0.0
    p: float = 0.5
    maximum: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise FreelightError(f"{self.name} `n` (={self.n}) must be at least 1")
        if not 0 <= self.p <= 1:
            raise FreelightError(f"{self.name} `p` (={self.p}) must lie in 0..1")
        for name in ("magnitude", "std"):
            if not getattr(self, name) >= 0:
                raise FreelightError(f"{self.name} `{name}` (={getattr(self, name)}) must be at least 0")
        if not 0 < self.maximum <= 100:
            raise FreelightError(f"{self.name} `maximum` (={self.maximum}) must lie in 0..100, above 0")

    @classmethod
    def parse(cls, text: str, *, fill: int | tuple[int, int, int] = IMAGENET_MEAN) -> "TimmRandAugment":
        """Return the policy of a timm string such as `rand-m9-mstd0.5-inc1`.

        Its parts, in any order: m, magnitude (10); n, operations (2); p, probability of each (0.5); mstd, `std` (0);
        mmax, `maximum` (10); inc, `increasing` (0). Raises `FreelightError` that names a part which is none of these.
        """
        first, *parts = text.split("-")
        if first != "rand":
            raise FreelightError(f"policy {text!r} does not begin with rand: only timm's RandAugment is parsed")
        settings: dict[str, Any] = {}
        for part in parts:
            found = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", part)
            if found is None or found[1] not in PARTS:
                raise FreelightError(f"policy {text!r}: {part!r} is none of {', '.join(PARTS)} with a number after it")
            name, kind = PARTS[found[1]]
            value = float(found[2])
            if kind(value) != value:
                raise FreelightError(f"policy {text!r}: {part!r} must have {NUMBERS[kind]} after {found[1]}")
            settings[name] = kind(value)
        return cls(fill=fill, **settings)

    @property
    def layers(self) -> int:
        """Operations of each image, at most."""
        return self.n

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw operation, chance, sign, and the noise of the magnitude if there is any."""
        shape = (count, self.n)
        drawn: Arrays = {
            "operation": generator.integers(len(NAMES), size=shape, dtype=np.uint8),
            "chance": generator.random(shape, dtype=np.float32),
            "sign": generator.integers(2, size=shape, dtype=np.uint8),
        }
        if self.std > UNIFORM:
            drawn["noise"] = generator.random(shape, dtype=np.float32)
        elif self.std:
            drawn["noise"] = generator.standard_normal(shape, dtype=np.float32)
        return drawn

    def plan(self, drawn: Arrays, side: int) -> Plan:
        """Return the operations, Identity for those left out by chance, and their values."""
        magnitude = np.full(drawn["operation"].shape, self.magnitude)
        if self.std > UNIFORM:
            magnitude *= drawn["noise"]
        elif self.std:
            magnitude += self.std * drawn["noise"].astype(np.float64)
        level = magnitude.clip(0, self.maximum) / 10
        sign = np.where(drawn["sign"], -1, 1)
        values = np.zeros(level.shape)
        for index, name in enumerate(NAMES):
            is_this = drawn["operation"] == index
            values[is_this] = self._values(name, level[is_this], sign[is_this], side)
        return np.where(drawn["chance"] < self.p, drawn["operation"], len(NAMES)), values

    def _values(self, name: str, level: Values, sign: Values, side: int) -> Values:
        """Return the values of an operation at levels, tenths of the magnitude; timm's `LEVEL_TO_ARG`."""
        match name:
            case "Rotate":
                return sign * 30 * level
            case "ShearX" | "ShearY":
                return sign * 0.3 * level
            case "TranslateX" | "TranslateY":
                return np.rint(sign * 0.45 * level * side)
            case "Color" | "Contrast" | "Brightness" | "Sharpness":
                return np.maximum(0.1, 1 + sign * 0.9 * level) if self.increasing else 1.8 * level + 0.1
            case "Posterize":
                bits = np.floor(4 * level)
                return (4 - bits if self.increasing else bits).clip(0, 8)
            case "Solarize":
                threshold = np.floor(256 * level).clip(0, 256)
                return 256 - threshold if self.increasing else threshold
            case "SolarizeAdd":
                return np.floor(110 * level).clip(0, 128)
        return level  # the others have no value
