"""Random brightness, contrast, saturation and hue: torchvision's four adjustments, one after the other.

Each changes uint8 pixels as torchvision's `adjust_*` does, clips the result, and cuts fractions off. Torchvision draws
the order of the four for each image; here it is always this one. So an image may differ from torchvision's with the
same factors, about as much as two of torchvision's orders differ: by 5 grey levels in the mean, where SimCLR's jitter
changes 47.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types

from ...shards import FreelightError
from .context import Context, GraphContext
from .enhancing import CUT, as_bytes, brightened, brightness_node, contrast_node, contrasted
from .grayscale import grey_node, grey_of
from .hue import choose_hue, hue_feeds, hue_node, turned
from .op import Arrays, Feed
from .random_op import RandomOp

FACTORS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True, kw_only=True)
class ColorJitter(RandomOp):
    """Change brightness, contrast, saturation and hue, in this order, with probability `p`; as torchvision otherwise.

    brightness, contrast, saturation: the factor's range (low, high), or x for (max(0, 1 - x), 1 + x).
    hue: the range of the turn, -0.5..0.5 (0.5 is half a circle), or x for (-x, x).
    What cannot change anything costs nothing.
    """

    name = "color jitter"
    stage = "pixels"

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    saturation: float | tuple[float, float] = 0.0
    hue: float | tuple[float, float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in FACTORS:
            low, high = self.range_of(name)
            if not 0 <= low <= high < math.inf:
                raise FreelightError(f"color jitter `{name}` (={getattr(self, name)}) must be 0 or more, or a range")
        low, high = self.range_of("hue")
        if not -0.5 <= low <= high <= 0.5:
            raise FreelightError(f"color jitter `hue` (={self.hue}) must lie in 0..0.5, or be a range in -0.5..0.5")

    def range_of(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest value of a factor, or of the hue's turn."""
        value = getattr(self, name)
        if isinstance(value, tuple):
            return value
        return (-value, value) if name == "hue" else (min(1.0, max(0.0, 1 - value)), 1 + value)

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the chance, and four uniform numbers: of brightness, contrast, saturation and hue."""
        return {**super().draw(generator, count), "place": generator.random((count, 4), dtype=np.float32)}

    def factors(self, drawn: Arrays) -> Arrays:
        """Return brightness, contrast, saturation and hue of each occurrence, each (n,); 1, 1, 1, 0: no change."""
        changed, found = self.is_changed(drawn), {}
        for number, name in enumerate((*FACTORS, "hue")):
            low, high = self.range_of(name)
            drawn_values = np.float32(low) + np.float32(high - low) * drawn["place"][:, number]
            found[name] = np.where(changed, drawn_values, np.float32(name != "hue"))
        return found

    def describe(self, drawn: Arrays, context: Context) -> str:
        """Give the factors, and the hue's turn."""
        return "\n".join(f"{name} {value[0]:.2f}" for name, value in self.factors(drawn).items())

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return the factors that can change something, and the hue's turn."""
        chosen = self.factors(drawn)
        chosen.update(choose_hue(chosen["hue"]))
        return {name: chosen[name] for name in self.feeds()}

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the factors that can change something, and of the hue's turn."""
        factors = {name: Feed("float32") for name in FACTORS if self.range_of(name) != (1, 1)}
        return {**factors, **hue_feeds(*self.range_of("hue"))}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Apply those of the four that can change something. Products of bytes come from DALI's lookup tables."""
        if "brightness" in fed:
            image = brightness_node(image, fed["brightness"])
        if "contrast" in fed:
            image = contrast_node(image, fed["contrast"], context)
        if "saturation" in fed:
            image = _saturation_node(image, fed["saturation"])
        return hue_node(image, fed["hue"], fed.get("exchanges")) if "hue" in fed else image

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        if "brightness" in chosen:
            image = brightened(image, chosen["brightness"])
        if "contrast" in chosen:
            image = contrasted(image, chosen["contrast"])
        if "saturation" in chosen:
            factor = chosen["saturation"]
            image = as_bytes(np.rint(factor * image) + np.rint((1 - factor) * grey_of(image) - CUT))
        if "hue" in chosen:
            image = turned(image, (chosen["hue"] + 2 * chosen.get("exchanges", 0)) / 6)
        return image


def _saturation_node(image: Any, factor: Any) -> Any:
    """Blend with the grey values."""
    colour = fn.brightness_contrast(image, brightness=factor, dtype=types.INT16)
    # The shift's unit is the greatest int16.
    grey = fn.brightness_contrast(
        grey_node(image), brightness=1 - factor, brightness_shift=-CUT / 32767, dtype=types.INT16
    )
    return fn.cast(colour + grey, dtype=types.UINT8)
