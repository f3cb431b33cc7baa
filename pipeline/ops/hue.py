"""Turn the hue of HSV, as Pillow and torchvision do, without going through HSV.

Let V >= mid >= m be a pixel's channels in descending order. A turn keeps V and m. Let t be the turn in sixths of a
circle, |t| <= 1, and s = 1 if a channel's next one (R, G, B, R) is at least its previous one, else -1. Then channel x
becomes

    2 x - mid - s t (V - m),    clipped to m..V

As the hue turns, a channel stays at V and at m, and moves along straight lines in between. On a line x is mid, and
moves by t (V - m). Where x is V or m, the formula gives the next line, and clipping keeps x until the line begins. Two
sixths exchange the channels in a circle, so any turn is such an exchange and at most one sixth. All values are whole
numbers but t (V - m).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, math, types

from .op import Arrays, Feed

HALF_STEP = 1 / 6
"""Turns of more than this also exchange channels."""


def hue_feeds(low: float, high: float) -> dict[str, Feed]:
    """Return the types of what `choose_hue` returns for turns in low..high, parts of a circle."""
    exchanges = {"exchanges": Feed("int32")} if max(-low, high) > HALF_STEP else {}
    return {"hue": Feed("float32"), **exchanges} if low or high else {}


def choose_hue(turns: npt.NDArray[np.float32]) -> Arrays:
    """Split turns (n,), parts of a circle, into sixths of it, -1..1, and exchanges of channels, 0, 1 or 2."""
    exchanges = np.rint(3 * turns)
    return {"hue": 6 * turns - 2 * exchanges, "exchanges": exchanges.astype(np.int32) % 3}


def hue_node(image: Any, sixths: Any, exchanges: Any | None) -> Any:
    """Turn the hue of a uint8 "HWC" node. sixths, exchanges: nodes on the CPU."""
    planes = fn.crop_mirror_normalize(image, dtype=types.UINT8, output_layout="CHW")
    red, green, blue = (planes[channel] for channel in range(3))
    lower, higher = math.min(red, green), math.max(red, green)
    most, least = math.max(higher, blue), math.min(lower, blue)
    middle = math.max(lower, math.min(higher, blue))
    # Lookup tables multiply bytes; they want an axis of channels.
    chroma = fn.expand_dims(most - least, axes=[2], new_axis_names="C")
    step = fn.squeeze(fn.brightness_contrast(chroma, brightness=sixths, dtype=types.INT16), axes=[2])
    backward, both = step - middle, step + step
    turned_planes = [
        fn.cast(math.min(math.max(backward + plane + plane - (after >= before) * both, least), most), dtype=types.UINT8)
        for plane, after, before in ((red, green, blue), (green, blue, red), (blue, red, green))
    ]
    whole = fn.stack(*turned_planes)
    if exchanges is not None:  # a negative index counts from the end
        whole = fn.stack(*(whole[channel - exchanges] for channel in range(3)))
    return fn.crop_mirror_normalize(fn.reshape(whole, layout="CHW"), dtype=types.UINT8, output_layout="HWC")


def turned(image: npt.NDArray[Any], turn: float) -> npt.NDArray[np.uint8]:
    """Turn the hue of an image in numpy, by HSV's own formulas. turn: parts of a circle."""
    values = image.astype(np.float64)
    most, chroma = values.max(axis=2), np.ptp(values, axis=2)
    red, green, blue = np.moveaxis(values, 2, 0)
    sixths = np.select(
        [most == red, most == green], [green - blue, 2 * chroma + blue - red], 4 * chroma + red - green
    ) / np.maximum(chroma, 1)
    sixths = (sixths[..., None] + 6 * turn + np.array((5, 3, 1))) % 6
    pixels: npt.NDArray[np.uint8] = np.rint(
        most[..., None] - chroma[..., None] * np.minimum(sixths, 4 - sixths).clip(0, 1)
    ).astype(np.uint8)
    return pixels
