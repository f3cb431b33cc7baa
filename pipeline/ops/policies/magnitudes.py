"""The operations of torchvision's policies and what they do at each magnitude."""

import functools

import numpy as np
import numpy.typing as npt
import torch

NAMES = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"),
    *("Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
"""Those of RandAugment and TrivialAugmentWide, each with the same probability."""


@functools.cache
def values_by_bin(names: tuple[str, ...], bins: int, side: int, *, wide: bool) -> npt.NDArray[np.float64]:
    """Return the values of operations at each magnitude: (2, operations, bins); the second half is for a minus sign.

    side: of the image, pixels. wide: the ranges of TrivialAugmentWide. The numbers are those of torchvision's
    `_AUGMENTATION_SPACE`; operations without a sign have the same in both halves.
    """

    def from_zero(to: float) -> npt.NDArray[np.float64]:
        # Torch's float32 numbers decide which way a value is rounded.
        return torch.linspace(0, to, bins).double().numpy()

    enhancing = from_zero(0.99 if wide else 0.9)
    shift = np.floor(from_zero(32.0 if wide else 150 / 331 * side))
    ranges = {
        "ShearX": from_zero(0.99 if wide else 0.3),
        "ShearY": from_zero(0.99 if wide else 0.3),
        "TranslateX": shift,
        "TranslateY": shift,
        "Rotate": from_zero(135.0 if wide else 30.0),
        "Brightness": enhancing,
        "Color": enhancing,
        "Contrast": enhancing,
        "Sharpness": enhancing,
    }
    unsigned = {
        "Posterize": (8 - torch.arange(bins) / ((bins - 1) / (6 if wide else 4))).round().double().numpy(),
        "Solarize": np.ceil(255 * torch.linspace(1, 0, bins).double().numpy()),
    }
    values = np.zeros((2, len(names), bins))
    for place, name in enumerate(names):
        middle = 1 if ranges.get(name) is enhancing else 0
        values[:, place] = unsigned.get(name, middle)
        if name in ranges:
            values[0, place] += ranges[name]
            values[1, place] -= ranges[name]
    return values
