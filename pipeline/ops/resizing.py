"""How crops are resized: the rule for sizes, the interpolation, and its DALI, torch and Pillow forms, all antialiased.

On a GPU DALI resizes. On the CPU torch's kernel for uint8 is five times as fast: `Resizer` uses it. Both are within one
grey level of Pillow, except DALI's outermost pixels of a picture that is shrunk: it repeats the edge there.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from nvidia.dali import fn, types
from PIL import Image

from ..draws import EpochDraws

Interpolation = Literal["bilinear", "bicubic", "random"]
Sizes = int | npt.NDArray[np.int32]
"""Sizes of all pictures of a split, pixels: the side of squares, or an array (n, 2) of heights and widths."""

_LINEAR, _CUBIC = int(types.INTERP_LINEAR), int(types.INTERP_CUBIC)
_KERNELS = {
    _LINEAR: torch.ops.aten._upsample_bilinear2d_aa.out,
    _CUBIC: torch.ops.aten._upsample_bicubic2d_aa.out,
}
_FILTERS = {_LINEAR: Image.Resampling.BILINEAR, _CUBIC: Image.Resampling.BICUBIC}


def side_of(sizes: Sizes) -> int | None:
    """Return the side, if all pictures are squares of one size."""
    if isinstance(sizes, int):
        return sizes
    side = int(sizes[0, 0]) if len(sizes) else None
    return side if (sizes == side).all() else None


def resized_sizes(sizes: npt.NDArray[np.int64], shorter: int) -> npt.NDArray[np.int64]:
    """Return sizes (n, 2) after resizing the shorter side to `shorter`, as torchvision rounds the longer one."""
    longer = (shorter * sizes.max(axis=1) / sizes.min(axis=1)).astype(np.int64)
    return np.where(sizes == sizes.min(axis=1, keepdims=True), shorter, longer[:, None])


def filter_of(interpolation: Interpolation) -> int:
    """Return the filter of all samples, as DALI numbers it."""
    return _CUBIC if interpolation == "bicubic" else _LINEAR


def filters(interpolation: Interpolation, draws: EpochDraws) -> npt.NDArray[np.int32]:
    """Return each sample's filter, as DALI numbers them: (n,). `random` has a stream of its own."""
    if interpolation != "random":
        return np.full(len(draws.crop), filter_of(interpolation), np.int32)
    drawn = draws.generator(2).random(len(draws.crop), dtype=np.float32)
    return np.where(drawn < 0.5, _LINEAR, _CUBIC).astype(np.int32)


def resize_node(image: Any, interpolation: Interpolation, drawn: Any, **settings: Any) -> Any:
    """Resize a DALI node. drawn: node of each filter, for `random`. settings: `size`, and `roi_*` of a part."""
    if interpolation == "random":
        filter_ = fn.cast(drawn, dtype=types.INTERP_TYPE)
    else:
        filter_ = types.DALIInterpType(filter_of(interpolation))
    return fn.resize(image, interp_type=filter_, antialias=True, **settings)


def resize_picture(image: npt.NDArray[np.uint8], height: int, width: int, filter_: int) -> npt.NDArray[np.uint8]:
    """Resize one picture (H, W, 3) with Pillow."""
    return np.asarray(Image.fromarray(image).resize((width, height), _FILTERS[filter_]))


def resize_into(
    out: torch.Tensor, piece: torch.Tensor, place: Sequence[int], scale: Sequence[float], filter_: int
) -> None:
    """Write a part of a resized picture into `out` (size, size, 3), with torch's kernel on one thread.

    piece: uint8 (h, w, 3), the picture from its top left corner on, as far as the filter needs it. place: top and left
    of the part in the resized picture. scale: pixels of the picture for one of the resized picture, on each axis.
    """
    ends = [
        # The kernel leaves out an axis whose length stays; one more line, of no use, keeps it from that.
        start + length + (start + length == side and factor != 1)
        for start, length, side, factor in zip(place, out.shape, piece.shape, scale, strict=False)
    ]
    is_whole = ends == list(out.shape[:2])
    resized = out if is_whole else torch.empty((*ends, 3), dtype=torch.uint8)
    _KERNELS[filter_](
        piece.permute(2, 0, 1)[None], ends, False, 1 / scale[0], 1 / scale[1], out=resized.permute(2, 0, 1)[None]
    )
    if not is_whole:
        top, left = place
        # By numpy: torch would share these few bytes among its threads, and wait for them.
        np.copyto(out.numpy(), resized.numpy()[top : top + out.shape[0], left : left + out.shape[1]])
