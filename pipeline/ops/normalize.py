"""From uint8 crops to network inputs: flip, mean, lighting and scale, in as few kernels as possible.

Lighting adds the same three numbers to all pixels of an image, so it is a shift of the mean: one run of DALI's
`crop_mirror_normalize` with a mean for each image does all four. A mean image needs one more pass.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types

from ...shards import FreelightError
from .context import Context, GraphContext
from .crop import Crop, View, Window
from .subtract_mean import RGB, SubtractMean

DType = Literal["uint8", "float16", "bfloat16", "float32"]
DALI_TYPES = {"uint8": types.UINT8, "float16": types.FLOAT16, "bfloat16": types.FLOAT, "float32": types.FLOAT}
"""DALI has no bfloat16: the decoder casts its float32."""


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """mean: subtracted from each view. divisors: divide the channels after that, or None. crop: that made the views."""

    mean: SubtractMean
    divisors: RGB | None
    crop: Crop

    def nodes(self, view: View, light: Any, context: GraphContext, dtype: DType) -> Any:
        """Return the normalized view in the order of `context.axes`. light: node of the RGB shift, or None."""
        if view.window is not None:
            mean = context.constant(self.mean.pixels(self.crop, view.window, context))
            return self._scale(view.flipped(context) - mean, context, dtype)
        if self.mean.mean == "image":
            # The mean image gets the image's crop, flip and lighting; the image stays uint8 until the subtraction.
            image = types.Constant(
                context.required_statistics.require_mean_image(), layout="HWC", device=context.device
            )
            shift = [0.0, 0.0, 0.0] if light is None else light
            mean = context.crop_mirror_normalize(image, mirror=view.flip, mean=shift, dtype=types.FLOAT, **view.place)
            return self._scale(view.flipped(context) - mean, context, dtype)
        shift = self.mean.channels(context).tolist()
        if light is not None:
            shift = types.Constant(shift) - light
        place = {} if view.is_cut else view.place
        if self.mean.mean == "center window":
            lit = context.crop_mirror_normalize(view.image, mirror=view.flip, mean=shift, dtype=types.FLOAT, **place)
            mean = context.constant(self.mean.pixels(self.crop, Window(0, 0, False), context))
            return self._scale(lit - mean, context, dtype)
        std = list(self.divisors or (1.0, 1.0, 1.0))
        return context.crop_mirror_normalize(
            view.image, mirror=view.flip, mean=shift, std=std, dtype=DALI_TYPES[dtype], **place
        )

    def _scale(self, values: Any, context: GraphContext, dtype: DType) -> Any:
        """Divide a float32 node, and cast it."""
        if self.divisors is not None:
            factors = np.array([[[1 / value for value in self.divisors]]], dtype=np.float32)
            values = values * context.constant(factors)
        return cast(values, dtype)

    def reference(
        self,
        pixels: npt.NDArray[np.uint8],
        window: Window,
        light: npt.NDArray[np.float32] | None,
        context: Context,
    ) -> npt.NDArray[np.float64]:
        """Normalize one flipped crop (size, size, 3) in numpy. light: RGB shift (3,), grey levels, or None."""
        values = pixels.astype(np.float64) - self.mean.pixels(self.crop, window, context)
        if light is not None:
            values += light
        return values if self.divisors is None else values / np.array(self.divisors)


def cast(values: Any, dtype: DType) -> Any:
    """Cast a float32 node to `dtype`."""
    return values if DALI_TYPES[dtype] == types.FLOAT else fn.cast(values, dtype=DALI_TYPES[dtype])


def as_rgb(name: str, values: Any) -> RGB:
    """Return three numbers (a list, tuple, array or tensor) as a tuple of floats. Raises `FreelightError` otherwise."""
    try:
        red, green, blue = map(float, values)
    except (TypeError, ValueError):
        raise FreelightError(f"transform: `{name}` (={values}) must be three numbers, RGB in 0-255 units") from None
    if not all(map(math.isfinite, (red, green, blue))) or (name == "std" and min(red, green, blue) <= 0):
        kind = "positive" if name == "std" else "finite"
        raise FreelightError(f"transform: `{name}` (={values}) must be three {kind} numbers, RGB in 0-255 units")
    return red, green, blue


def check_units(mean: RGB | None, std: RGB | None) -> None:
    """Raise `FreelightError` if mean and std are the constants of pixels in 0-1: inputs would be 255 times too large.

    None stands for a mean that is not given in numbers, and for no std. A mean of 0 with a std of 1 changes nothing.
    """
    given = {name: values for name, values in (("mean", mean), ("std", std)) if values is not None}
    numbers = [number for values in given.values() for number in values]
    changes = any(mean or ()) or any(number != 1 for number in std or ())
    if changes and all(0 <= number <= 1 for number in numbers):
        scaled = {name: tuple(round(255 * number, 6) for number in values) for name, values in given.items()}
        raise FreelightError(
            f"transform: {_assigned(given)} are constants of pixels in 0-1, but pixels are in 0-255 here: give "
            f"{_assigned(scaled)}"
        )


def _assigned(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
