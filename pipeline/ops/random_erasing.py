"""Random rectangles of a share of the images, filled (Zhong et al., "Random Erasing Data Augmentation", 2017)."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn

from ...shards import FreelightError
from .context import Context, GraphContext
from .op import Arrays, Feed
from .random_op import RandomOp

TRIES = 10
"""Times that a rectangle is drawn, as in torchvision and timm; if it never fits, it is left out."""
MOST_RECTANGLES = 100


@dataclass(frozen=True, kw_only=True, repr=False)
class RandomErasing(RandomOp):
    """Fill rectangles of the normalized image with probability `p`, as torchvision's RandomErasing.

    scale: range of a rectangle's share of the area, uniform. ratio: range of height / width, log-uniform.
    value: fills it, in normalized units: a number (0 is the mean), three, R, G, B, or `random`: standard normal noise,
    drawn for each pixel and channel (torchvision's `random`, timm's `pixel`). It is cut at a drawn place out of a fixed
    table of twice the image's side.
    count: each image gets 1 to `count` rectangles, drawn; the area of each is divided by their number, as in timm.
    """

    name = "random erasing"
    stage = "normalized"

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | tuple[float, float, float] | Literal["random"] = 0.0
    count: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise FreelightError(f"random erasing `scale` (={self.scale}) must be a range in 0..1, above 0")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise FreelightError(f"random erasing `ratio` (={self.ratio}) must be a range of positive numbers")
        if not all(map(math.isfinite, self.fill)):
            raise FreelightError(f"random erasing `value` (={self.value}) must be finite")
        if not 1 <= self.count <= MOST_RECTANGLES:
            raise FreelightError(f"random erasing `count` (={self.count}) must lie in 1..{MOST_RECTANGLES}")

    def __repr__(self) -> str:
        """Return the fields as text. Loader states hold it, and older ones have no `count`."""
        shown = [spec.name for spec in dataclasses.fields(self) if spec.name != "count" or self.count > 1]
        return f"RandomErasing({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def is_noise(self) -> bool:
        """Whether rectangles are filled with noise."""
        return self.value == "random"

    @property
    def fill(self) -> tuple[float, ...]:
        """The value by channel; 0 for noise, which is added."""
        if isinstance(self.value, str):
            return (0.0,) * 3
        return self.value if isinstance(self.value, tuple) else (self.value,) * 3

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the chance, area and shape of the rectangles to try, and the place of the one that fits.

        With several, also their number; with noise, its place in the table.
        """
        drawn = {
            **super().draw(generator, count),
            "rectangles": generator.random((count, self.count, TRIES, 2), dtype=np.float32),
            "place": generator.random((count, self.count, 2), dtype=np.float32),
        }
        if self.count > 1:
            drawn["number"] = generator.random(count, dtype=np.float32)
        if self.is_noise:
            drawn["noise"] = generator.random((count, 2), dtype=np.float32)
        return drawn

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return top and left, height and width of the rectangles, pixels: (n, 2 count) each; zeros where none is.

        With noise, also its top and left in the table: (n, 2).
        """
        side, occurrences = context.crop_size, len(drawn["chance"])
        number = 1 + np.floor(self.count * drawn["number"]) if self.count > 1 else np.ones(occurrences, np.float32)
        shape = np.zeros((occurrences, self.count, 2), np.float32)
        low, high = np.log(np.array(self.ratio, np.float32))
        wanted = self.is_changed(drawn)[:, None] & (np.arange(self.count) < number[:, None])
        left, which = np.nonzero(wanted)  # those without a rectangle that fits
        for tried in range(TRIES):
            uniform = drawn["rectangles"][left, which, tried]
            area = self.scale[0] + np.float32(self.scale[1] - self.scale[0]) * uniform[:, 0]
            length = side * np.sqrt(area / number[left])
            root = np.exp((low + (high - low) * uniform[:, 1]) / 2)
            found = np.rint(np.stack((length * root, length / root), axis=1))
            fits = (found < side).all(axis=1)
            shape[left[fits], which[fits]] = found[fits]
            left, which = left[~fits], which[~fits]
        anchor = np.floor(drawn["place"] * (side - shape + 1))
        anchor[shape[..., 0] == 0] = 0
        chosen = {"anchor": anchor.reshape(occurrences, -1), "shape": shape.reshape(occurrences, -1)}
        if self.is_noise:
            chosen["noise"] = (drawn["noise"] * (side + 1)).astype(np.int32)
        return chosen

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the rectangles' corners and shapes, and of the noise's corner."""
        noise = {"noise": Feed("int32", 1)} if self.is_noise else {}
        return {"anchor": Feed("float32", 1), "shape": Feed("float32", 1), **noise}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Fill the rectangles. Noise: what erasing takes away from the noise is added to the erased image."""
        settings = {"axis_names": "HW", "anchor": fed["anchor"], "shape": fed["shape"]}
        erased = fn.erase(image, fill_value=list(self.fill), **settings)
        if not self.is_noise:
            return erased
        side = context.crop_size
        table = context.constant(noise_table(side))
        noise = fn.slice(table, start=fed["noise"], shape=[side, side], axis_names="HW")
        return erased + (noise - fn.erase(noise, fill_value=0.0, **settings))

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        image = image.copy()
        source = np.broadcast_to(self.fill, image.shape)
        if self.is_noise:
            top, left = chosen["noise"]
            source = noise_table(context.crop_size)[top : top + len(image), left : left + len(image)]
        corners, shapes = chosen["anchor"].astype(int).reshape(-1, 2), chosen["shape"].astype(int).reshape(-1, 2)
        for (top, left), (height, width) in zip(corners, shapes, strict=True):
            place = slice(top, top + height), slice(left, left + width)
            image[place] = source[place]
        return image


@functools.lru_cache(maxsize=4)
def noise_table(side: int) -> npt.NDArray[np.float32]:
    """Return standard normal noise, (2 side, 2 side, 3), the same for all seeds and epochs."""
    return np.random.Generator(np.random.Philox(side)).standard_normal((2 * side, 2 * side, 3), dtype=np.float32)
