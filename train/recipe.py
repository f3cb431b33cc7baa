"""Recipes: complete, named sets of training settings, stored in every checkpoint."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from ..pipeline import CenterCrop, Lighting, TenCrop, Transform
from ..pipeline.lighting import LightingMode
from ..shards import FreelightError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training settings. The defaults are the recipe `paper`, the paper's text (section 5).

    batch_size: images a step. learning_rate: at first, for all parameters. weight_decay: of weights and biases.
    epochs: at most. plateau_*: divide the rate by `factor` after `epochs` epochs without a new best centre-view top-1
    error on val; after `drops` drops the next plateau ends training. dropout: in fc6, fc7.
    lighting, lighting_strength, lighting_divisor: see `freelight.pipeline.Lighting`.
    """

    name: str = "paper"
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0005
    epochs: int = 90
    plateau_epochs: int = 5
    plateau_factor: float = 10.0
    plateau_drops: int = 3
    dropout: float = 0.5
    lighting: LightingMode = "eigenvalue"
    lighting_strength: float = 0.1
    lighting_divisor: float = 1.0

    def __post_init__(self) -> None:
        for key in ("batch_size", "epochs", "plateau_epochs"):
            if getattr(self, key) < 1:
                raise FreelightError(f"{key} (={getattr(self, key)}) must be at least 1")
        for key in ("learning_rate", "momentum", "weight_decay", "lighting_strength", "plateau_drops"):
            if not 0 <= getattr(self, key) < math.inf:
                raise FreelightError(f"{key} (={getattr(self, key)}) must be 0 or more")
        for key in ("plateau_factor", "lighting_divisor"):
            if not 0 < getattr(self, key) < math.inf:
                raise FreelightError(f"{key} (={getattr(self, key)}) must be positive")

    @property
    def training_transform(self) -> Transform:
        """Random crop and flip, less the mean image, lit."""
        lighting = Lighting(mode=self.lighting, strength=self.lighting_strength, divisor=self.lighting_divisor)
        return Transform(mean="image", lighting=lighting)

    def evaluation_transform(self, views: int) -> Transform:
        """The centre view (1) or the ten views (10), less the mean image."""
        return Transform(crop=CenterCrop() if views == 1 else TenCrop(), mean="image")

    def override(self, settings: Iterable[str]) -> "Recipe":
        """Return this recipe with `key=value` settings changed, checked by name and type."""
        types = {field.name: field.type for field in dataclasses.fields(self) if field.name != "name"}
        changes: dict[str, Any] = {}
        for setting in settings:
            key, separator, text = setting.partition("=")
            if not separator or key not in types:
                raise FreelightError(f"--set {setting!r}: expected key=value with a key of: {', '.join(types)}")
            if types[key] is LightingMode:
                if text not in get_args(LightingMode):
                    raise FreelightError(f"--set {setting!r}: {key} is one of {', '.join(get_args(LightingMode))}")
                changes[key] = text
                continue
            convert = int if types[key] is int else float
            try:
                changes[key] = convert(text)
            except ValueError:
                raise FreelightError(f"--set {setting!r}: {key} takes a number, {convert.__name__}") from None
        return dataclasses.replace(self, **changes)


RECIPES = {"paper": Recipe()}
