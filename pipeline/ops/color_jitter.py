"""Random brightness, contrast, saturation and hue as one affine map of RGB.

With factors b, c, s, the grey weights g, the mean grey value m of the image, and the rotation H by the hue's angle
around the grey axis of YIQ, which keeps a pixel's grey value:

    v' = b c (s H + (1 - s) 1 g) v + b (1 - c) m 1

Torchvision applies its four steps in random order and clips after each of them. Without clipping the order changes
nothing: each step maps grey to grey, and the grey value of its result depends only on that of its input. So there is
no order to draw here; values are clipped and rounded once, at the end. Brightness, contrast and saturation alone are
those of Pillow and torchvision within a grey level. The hue is not: theirs turns HSV's hue, which keeps the largest
channel of a pixel and not its grey value. On 100 ImageNet pictures (256 x 256), a turn of 0.05, 0.1, 0.5 differs from
Pillow's HSV by 5.1, 8.4, 13.7 grey levels in the mean; the HSV turns themselves change 3.6, 7.7, 31.8 grey levels.
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
from .grayscale import LUMA, grey_of
from .op import Arrays, Feed
from .random_op import RandomOp

YIQ = np.array(((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)))
"""From RGB. The grey axis R = G = B has I = Q = 0."""


@dataclass(frozen=True, kw_only=True)
class ColorJitter(RandomOp):
    """Change colours with probability `p`, as torchvision's ColorJitter; this module says what differs.

    brightness, contrast, saturation: the factor's range (low, high), or x for (max(0, 1 - x), 1 + x).
    hue: the range of the turn, -0.5..0.5 (0.5 is half a circle), or x for (-x, x).
    """

    name = "color jitter"
    stage = "pixels"

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    saturation: float | tuple[float, float] = 0.0
    hue: float | tuple[float, float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("brightness", "contrast", "saturation"):
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
        for number, name in enumerate(("brightness", "contrast", "saturation", "hue")):
            low, high = self.range_of(name)
            drawn_values = np.float32(low) + np.float32(high - low) * drawn["place"][:, number]
            found[name] = np.where(changed, drawn_values, np.float32(name != "hue"))
        return found

    def describe(self, drawn: Arrays, context: Context) -> str:
        """Give the factors, and the hue's turn."""
        return "\n".join(f"{name} {value[0]:.2f}" for name, value in self.factors(drawn).items())

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return the matrix of v, (n, 3, 3), and the factor of the mean grey value, (n,)."""
        factors = self.factors(drawn)
        scale = factors["brightness"] * factors["contrast"]
        angle = -2 * np.float32(math.pi) * factors["hue"]
        # A rotation by `angle` in the plane of I and Q is linear in its cosine and its sine.
        back = np.linalg.inv(YIQ)
        along = (back[:, 1:] @ YIQ[1:]).astype(np.float32)
        across = (np.outer(back[:, 2], YIQ[1]) - np.outer(back[:, 1], YIQ[2])).astype(np.float32)
        colour = (scale * factors["saturation"])[:, None, None]
        matrix = (colour * np.cos(angle)[:, None, None]) * along
        matrix += (colour * np.sin(angle)[:, None, None]) * across
        matrix += scale[:, None, None] * LUMA.astype(np.float32)
        return {"matrix": matrix, "lift": factors["brightness"] - scale}

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the matrix and of the factor of the mean grey value."""
        return {"matrix": Feed("float32", 2), "lift": Feed("float32")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Multiply the pixels by the matrix, and add the share of the mean grey value."""
        grey = fn.color_space_conversion(image, image_type=types.RGB, output_type=types.GRAY)
        lift = fn.reductions.mean(grey) * context.on_device(fed["lift"])
        return fn.cast(fn.coord_transform(image, M=fed["matrix"], dtype=types.FLOAT) + lift, dtype=types.UINT8)

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        values = image @ chosen["matrix"].T.astype(np.float64) + chosen["lift"] * grey_of(image).mean()
        pixels: npt.NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
        return pixels
