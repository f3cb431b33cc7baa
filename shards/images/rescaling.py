"""How pictures are rescaled and stored (`Rescaling`: geometry, size, JPEG quality, ...), and the rescaling itself.

The geometry `square` is the authors' (paper section 2; `make-data.py` of cuda-convnet2): the whole image is scaled so
that its shorter side is 256, then the window at `(length - 256) // 2` is cut out. Only that window is computed. The
other geometries keep the whole image and its aspect.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base import FreelightError, check_fields
from .encoding import MAX_SIDE, QUALITY, SUBSAMPLINGS
from .opening import MAX_PIXELS, PILLOWS_LIMIT
from .upright import Pixels

GEOMETRIES = SQUARE, SHORTER, LONGER, ORIGINAL = ("square", "shorter", "longer", "original")
AUTHORS = "authors"
# The filter for enlarging. It also shrinks, except with AUTHORS, which averages over areas.
RESAMPLINGS = {
    AUTHORS: Image.Resampling.BICUBIC,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


ORIENTATION = "EXIF orientation applied"
# Memory for the float32 copy of a picture's part, bytes. Ordinary photographs need a tenth.
_BLOCK_BYTES = 64 << 20


class Axis(NamedTuple):
    """One axis of a picture: `length` pixels are scaled to `scaled`, of which `kept` from `start` are kept."""

    length: int
    scaled: int
    start: int
    kept: int


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """How pictures are rescaled and stored; recorded in the manifest.

    geometry: "square" scales the shorter side to `size` and cuts out the central square; "shorter" scales the shorter
    side to `size`, and "longer" the longer side; "original" keeps the file's own bytes if it is a sound, upright RGB or
    grey JPEG, and encodes any other file at its own size. size: pixels. enlarge: whether "shorter" and "longer" also
    enlarge smaller pictures, as "square" always does. quality: JPEG quality, 1-100. resampling: a name in
    `RESAMPLINGS`; "authors" averages over exact areas when it shrinks and is bicubic when it enlarges, the others are
    Pillow's filters for both. subsampling: of the JPEG's chroma planes. orientation: has one value, which the manifest
    records. max_pixels: a picture with more, width x height, is rejected before it is decoded.
    """

    geometry: str = SQUARE
    size: int = 256
    enlarge: bool = False
    quality: int = QUALITY
    resampling: str = AUTHORS
    subsampling: str = "4:2:0"
    orientation: str = ORIENTATION
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.size <= MAX_SIDE:
            raise FreelightError(f"`size` (={self.size}) must be at least 1 pixel and at most {MAX_SIDE}, JPEG's limit")
        if not 1 <= self.quality <= 100:
            raise FreelightError(f"`quality` (={self.quality}) must lie in 1..100")
        if not 1 <= self.max_pixels <= PILLOWS_LIMIT:
            raise FreelightError(
                f"`max_pixels` (={self.max_pixels}) must be at least 1 and at most {PILLOWS_LIMIT}, Pillow's limit"
            )
        for name, value, known in (
            ("geometry", self.geometry, GEOMETRIES),
            ("resampling", self.resampling, RESAMPLINGS),
            ("subsampling", self.subsampling, SUBSAMPLINGS),
            ("orientation", self.orientation, (ORIENTATION,)),
        ):
            if value not in known:
                raise FreelightError(f"`{name}` (={value}) must be one of {', '.join(known)}")
        if self.enlarge and self.geometry not in (SHORTER, LONGER):
            raise FreelightError(
                f"`enlarge` is for the geometries {SHORTER} and {LONGER}: {SQUARE} always enlarges, {ORIGINAL} never "
                f"does; omit it, or give another `geometry` (={self.geometry})"
            )
        if self.geometry == ORIGINAL and (self.size, self.resampling) != (Rescaling.size, Rescaling.resampling):
            raise FreelightError(
                f"`geometry` (={ORIGINAL}) keeps every size; omit `size` and `resampling`, or give another geometry"
            )

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """Return the vertical and the horizontal axis of a picture of `height` x `width` pixels.

        The side that `size` does not give is rounded to the nearest pixel, halves to the even one, and is at least 1.
        Raises `FreelightError` if the output would be larger than a JPEG may be, or than `max_pixels`.
        """
        given = max(height, width) if self.geometry == LONGER else min(height, width)
        kept_as_is = self.geometry == ORIGINAL or (
            self.geometry in (SHORTER, LONGER) and given <= self.size and not self.enlarge
        )
        scaled = [side if kept_as_is else max(1, round(self.size * side / given)) for side in (height, width)]
        kept = [self.size if self.geometry == SQUARE else side for side in scaled]
        if self.geometry != SQUARE and (max(kept) > MAX_SIDE or math.prod(kept) > max(self.max_pixels, height * width)):
            raise FreelightError(
                f"cannot rescale: {width} x {height} pixels would become {kept[1]} x {kept[0]}; a JPEG has at most "
                f"{MAX_SIDE} on a side, and `max_pixels` is {self.max_pixels}"
            )
        vertical, horizontal = (
            Axis(length, whole, (whole - part) // 2, part)
            for length, whole, part in zip((height, width), scaled, kept, strict=True)
        )
        return vertical, horizontal


def rescale(image: Image.Image, size: int, resampling: str = AUTHORS) -> Pixels:
    """Scale an RGB image's shorter side to `size` and cut out the central square: uint8 (size, size, 3), 0-255.

    The longer side becomes `round(size * long / short)`. resampling: one of `RESAMPLINGS`.
    """
    return rescale_pixels(np.asarray(image), Rescaling(size=size, resampling=resampling))


def rescale_pixels(pixels: Pixels, rescaling: Rescaling) -> Pixels:
    """Rescale uint8 (H, W, 3) pixels by the geometry and the filter of `rescaling`."""
    rows, columns = rescaling.axes(*pixels.shape[:2])
    if all(axis.scaled == axis.length for axis in (rows, columns)):  # nothing to resample: keep the pixels
        return np.ascontiguousarray(
            pixels[rows.start : rows.start + rows.kept, columns.start : columns.start + columns.kept]
        )
    if rescaling.resampling != AUTHORS or any(axis.scaled > axis.length for axis in (rows, columns)):
        (top, bottom), (left, right) = (
            (axis.start * step, (axis.start + axis.kept) * step)
            for axis, step in ((axis, axis.length / axis.scaled) for axis in (rows, columns))
        )
        picture, filter_ = Image.fromarray(pixels), RESAMPLINGS[rescaling.resampling]
        return np.asarray(picture.resize((columns.kept, rows.kept), filter_, box=(left, top, right, bottom)))
    return _average_areas(pixels, rows, columns)


def _average_areas(pixels: Pixels, rows: Axis, columns: Axis) -> Pixels:
    """Shrink to the averages over exact areas: uint8 (rows.kept, columns.kept, 3).

    A large picture is taken in bands, because float32 needs four times its memory. Each output row is a sum of its own,
    so the result is the same.
    """
    row_range, row_weights = _area_weights(*rows)
    column_range, column_weights = _area_weights(*columns)
    pixels = pixels[row_range, column_range]
    bands = min(rows.kept, math.ceil(4 * pixels.size / _BLOCK_BYTES))
    if bands == 1:
        return _average(row_weights, column_weights, pixels)
    shrunk = np.empty((rows.kept, columns.kept, 3), np.uint8)
    for band in np.array_split(np.arange(rows.kept), bands):
        weights = row_weights[band]
        used = slice(int(weights.indices.min()), int(weights.indices.max()) + 1)
        shrunk[band] = _average(weights[:, used], column_weights, pixels[used])
    return shrunk


def _average(row_weights: Any, column_weights: Any, pixels: Pixels) -> Pixels:
    """Return the averages of `pixels` with these weights, sparse matrices: uint8 (rows, columns, 3)."""
    rows, columns = row_weights.shape[0], column_weights.shape[0]
    # Transpose only two-dimensional arrays: numpy takes longer to transpose the three-dimensional one than to sum it.
    scaled = row_weights @ pixels.astype(np.float32, order="C").reshape(len(pixels), -1)  # y, (column, channel)
    transposed = _transpose(scaled).reshape(scaled.shape[1] // 3, -1)  # column, (channel, y)
    means = column_weights @ transposed  # x, (channel, y)
    means += 0.5  # astype truncates
    window = means.astype(np.uint8)  # averages of 0-255 need no clipping
    return _transpose(window.reshape(-1, rows)).reshape(rows, columns, 3)


@functools.lru_cache(maxsize=1024)  # 8 kB each; a thousand photographs have some 400 different sides
def _area_weights(length: int, scaled: int, start: int, kept: int) -> tuple[slice, Any]:
    """Return the slice of `length` pixels that contribute, and the sparse matrix that averages them over exact areas.

    The matrix, float32 (kept, pixels in the slice), gives positions start..start+kept of `scaled` output pixels.
    """
    import scipy.sparse  # here, because it takes longer to import than the rest of the package

    step = length / scaled
    left = (start + np.arange(kept))[:, None] * step
    pixel = np.floor(left).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)
    covered = np.clip(np.minimum(left + step, pixel + 1) - np.maximum(left, pixel), 0, None) / step
    inside = (covered > 0) & (pixel < length)
    columns = pixel[inside].astype(np.int32)
    first, last = int(columns[0]), int(columns[-1]) + 1
    row_ends = np.concatenate([[0], inside.sum(axis=1).cumsum()]).astype(np.int32)
    weights = (covered[inside].astype(np.float32), columns - np.int32(first), row_ends)
    return slice(first, last), scipy.sparse.csr_array(weights, shape=(kept, last - first))


def _transpose(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a contiguous copy of the transpose. Work in strips of 128 rows, which fit the processor's cache."""
    transposed = np.empty(matrix.shape[::-1], matrix.dtype)
    for first in range(0, len(matrix), 128):
        transposed[:, first : first + 128] = matrix[first : first + 128].T
    return transposed
