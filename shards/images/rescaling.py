"""How pictures are rescaled and stored (`Rescaling`: size, JPEG quality, ...), and the rescaling itself.

The geometry is the authors' (paper section 2; `make-data.py` of cuda-convnet2): the whole image is scaled so that its
shorter side is 256, then the window at `(length - 256) // 2` is cut out. Only that window is computed.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base import FreelightError, check_fields
from .decoding import Pixels
from .encoding import MAX_SIDE, QUALITY, SUBSAMPLINGS
from .opening import MAX_PIXELS, PILLOWS_LIMIT

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


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """How pictures are rescaled and stored; recorded in the manifest.

    size: side of the square output, pixels. quality: JPEG quality, 1-100. resampling: a name in
    `RESAMPLINGS`; "authors" averages over exact areas when it shrinks and is bicubic when it enlarges, the others are
    Pillow's filters for both. subsampling: of the JPEG's chroma planes. orientation: has one value, which the manifest
    records. max_pixels: a picture with more, width x height, is rejected before it is decoded.
    """

    size: int = 256
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
            ("resampling", self.resampling, RESAMPLINGS),
            ("subsampling", self.subsampling, SUBSAMPLINGS),
            ("orientation", self.orientation, (ORIENTATION,)),
        ):
            if value not in known:
                raise FreelightError(f"`{name}` (={value}) must be one of {', '.join(known)}")


def rescale(image: Image.Image, size: int, resampling: str = AUTHORS) -> Pixels:
    """Scale an RGB image's shorter side to `size` and cut out the central square: uint8 (size, size, 3), 0-255.

    The longer side becomes `round(size * long / short)`. resampling: one of `RESAMPLINGS`.
    """
    return rescale_pixels(np.asarray(image), size, resampling)


def rescale_pixels(pixels: Pixels, size: int, resampling: str = AUTHORS) -> Pixels:
    """Do what `rescale` does with uint8 (H, W, 3) pixels."""
    height, width = pixels.shape[:2]
    short = min(width, height)
    scaled_width, scaled_height = (max(size, round(size * side / short)) for side in (width, height))
    left, top = (scaled_width - size) // 2, (scaled_height - size) // 2
    if size == short:  # nothing to resample: keep the pixels
        return np.ascontiguousarray(pixels[top : top + size, left : left + size])
    if resampling != AUTHORS or size > short:
        x_step, y_step = width / scaled_width, height / scaled_height
        box = (left * x_step, top * y_step, (left + size) * x_step, (top + size) * y_step)
        return np.asarray(Image.fromarray(pixels).resize((size, size), RESAMPLINGS[resampling], box=box))
    rows, row_weights = _area_weights(height, scaled_height, top, size)
    columns, column_weights = _area_weights(width, scaled_width, left, size)
    # Transpose only two-dimensional arrays: numpy takes longer to transpose the three-dimensional one than to sum it.
    scaled = _average_rows(row_weights, pixels[rows, columns])  # y, (column, channel)
    transposed = _transpose(scaled).reshape(scaled.shape[1] // 3, -1)  # column, (channel, y)
    means = column_weights @ transposed  # x, (channel, y)
    means += 0.5  # astype truncates
    window = means.astype(np.uint8)  # averages of 0-255 need no clipping
    return _transpose(window.reshape(-1, size)).reshape(size, size, 3)


@functools.lru_cache(maxsize=1024)  # 8 kB each; a thousand photographs have some 400 different sides
def _area_weights(length: int, scaled: int, start: int, size: int) -> tuple[slice, Any]:
    """Return the slice of `length` pixels that contribute, and the sparse matrix that averages them over exact areas.

    The matrix, float32 (size, pixels in the slice), gives positions start..start+size of `scaled` output pixels.
    """
    import scipy.sparse  # here, because it takes longer to import than the rest of the package

    step = length / scaled
    left = (start + np.arange(size))[:, None] * step
    pixel = np.floor(left).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)
    covered = np.clip(np.minimum(left + step, pixel + 1) - np.maximum(left, pixel), 0, None) / step
    inside = (covered > 0) & (pixel < length)
    columns = pixel[inside].astype(np.int32)
    first, last = int(columns[0]), int(columns[-1]) + 1
    row_ends = np.concatenate([[0], inside.sum(axis=1).cumsum()]).astype(np.int32)
    weights = (covered[inside].astype(np.float32), columns - np.int32(first), row_ends)
    return slice(first, last), scipy.sparse.csr_array(weights, shape=(size, last - first))


def _average_rows(weights: Any, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return `weights` @ `pixels`: float32 (rows, columns * 3). `weights` is a sparse matrix.

    A large picture is taken in parts, because float32 needs four times its memory. Each output row is a sum of its own,
    so the result is the same.
    """
    half = weights.shape[0] // 2
    if 4 * pixels.size <= _BLOCK_BYTES or not half:
        return weights @ pixels.astype(np.float32, order="C").reshape(len(pixels), -1)  # type: ignore[no-any-return]
    parts = []
    for part in (weights[:half], weights[half:]):
        used = slice(int(part.indices.min()), int(part.indices.max()) + 1)
        parts.append(_average_rows(part[:, used], pixels[used]))
    return np.concatenate(parts)


def _transpose(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a contiguous copy of the transpose. Work in strips of 128 rows, which fit the processor's cache."""
    transposed = np.empty(matrix.shape[::-1], matrix.dtype)
    for first in range(0, len(matrix), 128):
        transposed[:, first : first + 128] = matrix[first : first + 128].T
    return transposed
