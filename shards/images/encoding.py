"""RGB pixels -> a baseline JPEG."""

import io

from PIL import Image

from .upright import Pixels

QUALITY = 95
"""Default JPEG quality, 1-100: the authors'."""
MAX_SIDE = 65_500
"""Largest side that libjpeg encodes, pixels."""
SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")


def encode_jpeg(pixels: Pixels, quality: int, subsampling: str = "4:2:0") -> bytes:
    """Encode uint8 (H, W, 3) RGB pixels as a baseline JPEG without metadata.

    quality: 1-100. subsampling: of the chroma planes, one of `SUBSAMPLINGS`.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()
