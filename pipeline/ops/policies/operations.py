"""The operations of policies, by torchvision's names, and the numbers that the graph needs for them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .changes import NUMBERS, Kind

Values = npt.NDArray[np.float64]


class Operation(NamedTuple):
    """kind: the change of the pixels. numbers: its numbers for values (n,) and the side of the image, pixels."""

    kind: Kind
    numbers: Callable[[Values, int], Sequence[Values | float]]


TIE = 2.0**-12
"""Pixels. Where two pixels are as near, it decides, so that float32 rounding on a CPU and a GPU does not."""


def _shear_x(value: Values, side: int) -> Sequence[Values | float]:
    """Value: pixels to the left per row."""
    return 1, value, TIE, 0, 1, TIE


def _shear_y(value: Values, side: int) -> Sequence[Values | float]:
    """Value: pixels up per column."""
    return 1, 0, TIE, value, 1, TIE


def _rotate(value: Values, side: int) -> Sequence[Values | float]:
    """Value: degrees counter-clockwise around the centre."""
    sine, cosine = np.sin(np.deg2rad(value)), np.cos(np.deg2rad(value))
    middle = side / 2
    return cosine, -sine, middle * (1 - cosine + sine) + TIE, sine, cosine, middle * (1 - cosine - sine) + TIE


def _color(value: Values, side: int) -> Sequence[Values | float]:
    """Value: the factor of the image; the rest is grey."""
    return value, 1 - value


def _sharpness(value: Values, side: int) -> Sequence[Values | float]:
    """Value: the factor of the image; the rest is Pillow's smooth image."""
    around = (1 - value) / 13
    return around, around, around, around, value + 5 * around, around


def _posterize(value: Values, side: int) -> Sequence[Values | float]:
    """Value: the bits that stay."""
    return (256 - 2 ** (8 - value),)


def _solarize(value: Values, side: int) -> Sequence[Values | float]:
    """Value: the lowest that is inverted, 0..256. The graph compares bytes, so 256 has a mask instead."""
    return np.minimum(value, 255), np.where(value < 256, 255, 0)


def _as_it_is(value: Values, side: int) -> Sequence[Values | float]:
    return (value,)


OPERATIONS = {
    "Identity": Operation(Kind.NOTHING, _as_it_is),
    "ShearX": Operation(Kind.WARP, _shear_x),
    "ShearY": Operation(Kind.WARP, _shear_y),
    "TranslateX": Operation(Kind.SHIFT, lambda value, side: (0, -value)),  # value: whole pixels to the right
    "TranslateY": Operation(Kind.SHIFT, lambda value, side: (-value, 0)),  # whole pixels down
    "Rotate": Operation(Kind.WARP, _rotate),
    "Brightness": Operation(Kind.BRIGHTNESS, _as_it_is),
    "Color": Operation(Kind.COLOR, _color),
    "Contrast": Operation(Kind.CONTRAST, _as_it_is),
    "Sharpness": Operation(Kind.SHARPNESS, _sharpness),
    "Posterize": Operation(Kind.POSTERIZE, _posterize),
    "Solarize": Operation(Kind.SOLARIZE, _solarize),
    "SolarizeAdd": Operation(Kind.SOLARIZE_ADD, _as_it_is),
    "AutoContrast": Operation(Kind.AUTOCONTRAST, _as_it_is),
    "Equalize": Operation(Kind.EQUALIZE, _as_it_is),
    "Invert": Operation(Kind.SOLARIZE, lambda value, side: (0, 255)),
}
WITHOUT_VALUE = ("Identity", "AutoContrast", "Equalize", "Invert")


def numbers_of(name: str, value: Values, side: int) -> npt.NDArray[np.float32]:
    """Return the numbers of the change that operation `name` makes with `value` (n,): (n, 6).

    side: of the image, pixels. Unused numbers are 0.
    """
    table = np.zeros((len(value), NUMBERS), np.float32)
    for place, numbers in enumerate(OPERATIONS[name].numbers(value, side)):
        table[:, place] = numbers
    return table
