"""How the operations of policies change pixels: DALI nodes and numpy for each `Kind`.

On the CPU DALI's arithmetic on bytes takes a tenth of the time of a float result that is cast to bytes, so each change
is made of byte arithmetic and of kernels that read and write bytes. On a GPU the nodes are the same.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types

from ..context import GraphContext
from ..enhancing import as_bytes, blended, brightened, brightness_node, contrast_node, contrasted
from ..grayscale import grey_node, grey_of

Fill = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]


class Kind(IntEnum):
    """What is done to an image of a layer, as the graph's argument says it."""

    NOTHING = 0
    WARP = 1
    SHIFT = 2
    BRIGHTNESS = 3
    CONTRAST = 4
    COLOR = 5
    SHARPNESS = 6
    POSTERIZE = 7
    SOLARIZE = 8
    SOLARIZE_ADD = 9
    AUTOCONTRAST = 10
    EQUALIZE = 11


NUMBERS = 6
"""Numbers that a change takes at most: float32."""


class Change(NamedTuple):
    """nodes: changes uint8 "HWC" (size, size, 3) by the node of its numbers, (6,). reference: does the same in numpy.

    fill: R, G, B of pixels that come from outside the image.
    """

    nodes: Callable[[Any, Any, Fill, GraphContext], Any]
    reference: Callable[[Pixels, npt.NDArray[np.float32], Fill], Pixels]


def _warp_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the matrix (2, 3) from pixels of the result to pixels of the image, x before y; nearest pixel."""
    matrix = fn.reshape(numbers, shape=[2, 3])
    red, green, blue = fill
    if red == green == blue:
        return fn.warp_affine(image, matrix=matrix, fill_value=red, interp_type=types.INTERP_NN)
    # The operator fills with one number: change the bits so that the fill is 0.
    color = types.Constant(np.full((context.crop_size, context.crop_size, 3), fill, np.uint8), device=context.device)
    return fn.warp_affine(image ^ color, matrix=matrix, fill_value=0, interp_type=types.INTERP_NN) ^ color


def _warp_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    rows, columns = np.indices(image.shape[:2]) + np.float32(0.5)
    x_of, y_of = numbers.reshape(2, 3)
    x = np.floor(x_of[0] * columns + x_of[1] * rows + x_of[2]).astype(int)
    y = np.floor(y_of[0] * columns + y_of[1] * rows + y_of[2]).astype(int)
    inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    changed = np.full_like(image, fill)
    changed[inside] = image[y[inside], x[inside]]
    return changed


def _shift_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: top and left of the result in the image, whole pixels."""
    return fn.slice(
        image,
        fn.cast(numbers[:2], dtype=types.INT32),
        [context.crop_size, context.crop_size],
        axes=[0, 1],
        out_of_bounds_policy="pad",
        fill_values=list(fill),
    )


def _shift_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    top, left = numbers[:2]
    return _warp_reference(image, np.array((1, 0, left, 0, 1, top), np.float32), fill)


def _brightness_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the factor."""
    return brightness_node(image, numbers[0])


def _brightness_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    return brightened(image, numbers[0])


def _contrast_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the factor. The centre is the mean grey value."""
    return contrast_node(image, numbers[0], context)


def _contrast_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    return contrasted(image, numbers[0])


def _color_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the factors of image and grey. A filter of 2 x 1 pixels blends two images that are two long lines."""
    lines = fn.reshape(fn.stack(image, grey_node(image)), shape=[2, -1, 1], layout="HWC")
    kernel = context.on_device(fn.reshape(numbers[:2], shape=[2, 1]))
    blended = fn.filter(lines, kernel, mode="valid", anchor=[0, 0])
    return fn.reshape(blended, shape=[context.crop_size, context.crop_size, 3], layout="HWC")


def _color_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    return blended(image, grey_of(image), numbers[0])


def _sharpness_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the first two lines of the symmetric 3 x 3 kernel; the image is reflected beyond its edge."""
    kernel = fn.reshape(fn.cat(numbers, numbers[:3], axis=0), shape=[3, 3])
    return fn.filter(image, context.on_device(kernel))


def _sharpness_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return as_bytes(around.reshape(*image.shape, 9) @ np.concatenate((numbers, numbers[:3])).astype(np.float64))


def _posterize_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the mask of the bits that stay."""
    return image & context.on_device(fn.cast(numbers[0], dtype=types.UINT8))


def _posterize_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    return image & np.uint8(numbers[0])


def _solarize_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: the lowest value that is inverted, 0..255, and what inverts it: 255, or 0 for no change."""
    threshold, mask = (context.on_device(fn.cast(numbers[place], dtype=types.UINT8)) for place in (0, 1))
    return image ^ ((image >= threshold) * mask)


def _solarize_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    return np.where(image >= numbers[0], image ^ np.uint8(numbers[1]), image)


def _solarize_add_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """numbers: what is added to values below 128, 0..128."""
    return image + (image < np.uint8(128)) * context.on_device(fn.cast(numbers[0], dtype=types.UINT8))


def _solarize_add_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    return np.where(image < 128, image + np.uint8(numbers[0]), image)


def _autocontrast_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """Stretch each channel to 0..255 by a factor in units of 1/256: the high byte of a product of 16 bits."""
    low = fn.reductions.min(image, axis_names="HW", keep_dims=True)
    high = fn.reductions.max(image, axis_names="HW", keep_dims=True)
    is_flat = high == low
    span = fn.cast(high - low + is_flat * np.uint8(255), dtype=types.INT32)
    factor = fn.cast((span + 65279) // span, dtype=types.UINT16)  # 65280 / span, rounded up: `high` becomes 255
    product = (image - low * (high > low)) * factor
    values = context.crop_size**2 * 3
    pairs = fn.reinterpret(product, shape=[values, 2], dtype=types.UINT8)  # the low byte is first
    stretched = fn.slice(pairs, [0, 1], [values, 1], axes=[0, 1])
    return fn.reshape(stretched, shape=[context.crop_size, context.crop_size, 3], layout="HWC")


def _autocontrast_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    low, high = (bound.astype(int) for bound in (image.min(axis=(0, 1)), image.max(axis=(0, 1))))
    factor = -(-65280 // np.maximum(high - low, 1))
    return np.where(high > low, (image - low) * factor >> 8, image).astype(np.uint8)


def _equalize_nodes(image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """Equalize the negative: DALI counts the values up to a value, and Pillow those below it."""
    return fn.equalize(image ^ np.uint8(255)) ^ np.uint8(255)


def _equalize_reference(image: Pixels, numbers: npt.NDArray[np.float32], fill: Fill) -> Pixels:
    changed = image.copy()
    for channel in range(3):
        counts = np.bincount(image[..., channel].ravel(), minlength=256)
        below = np.cumsum(counts) - counts
        others = below[-1] if counts[-1] else below[np.flatnonzero(counts)[-1]]
        if others:
            changed[..., channel] = as_bytes(below * 255 / others)[image[..., channel]]
    return changed


CHANGES = {
    Kind.WARP: Change(_warp_nodes, _warp_reference),
    Kind.SHIFT: Change(_shift_nodes, _shift_reference),
    Kind.BRIGHTNESS: Change(_brightness_nodes, _brightness_reference),
    Kind.CONTRAST: Change(_contrast_nodes, _contrast_reference),
    Kind.COLOR: Change(_color_nodes, _color_reference),
    Kind.SHARPNESS: Change(_sharpness_nodes, _sharpness_reference),
    Kind.POSTERIZE: Change(_posterize_nodes, _posterize_reference),
    Kind.SOLARIZE: Change(_solarize_nodes, _solarize_reference),
    Kind.SOLARIZE_ADD: Change(_solarize_add_nodes, _solarize_add_reference),
    Kind.AUTOCONTRAST: Change(_autocontrast_nodes, _autocontrast_reference),
    Kind.EQUALIZE: Change(_equalize_nodes, _equalize_reference),
}
