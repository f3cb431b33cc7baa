"""Files of every form, pictures that show a shift of a hundredth of a pixel, and references in numpy and Pillow."""

import gzip
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from freelight.demo.drawing import draw_picture

Pixels = npt.NDArray[np.uint8]


def noisy(width: int, height: int, seed: int = 0) -> Pixels:
    """Noise on a gradient, uint8 (height, width, 3): shows a shift of a hundredth of a pixel, and a mirrored
    picture."""
    slope = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None]
    return (slope + np.random.default_rng(seed).uniform(0, 75, (height, width, 3))).astype(np.uint8)


def encoded(image: Image.Image | Pixels, format: str, **options: object) -> bytes:  # noqa: A002 - Pillow's word
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(jpeg: bytes) -> npt.NDArray[np.int16]:
    """Decode with Pillow alone, to int16 so that differences have a sign."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(np.int16)


def area_scaled(pixels: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Scale axis 0 to `length`: the mean over each new pixel's span, from the running integral, in float64."""
    old = len(pixels)
    integral = np.concatenate([np.zeros((1, *pixels.shape[1:])), np.cumsum(pixels, axis=0)])
    edges = np.arange(length + 1) * (old / length)
    whole = np.minimum(edges.astype(np.int64), old - 1)
    part = (edges - whole).reshape(-1, *[1] * (pixels.ndim - 1))
    return np.diff(integral[whole] + part * (integral[whole + 1] - integral[whole]), axis=0) / (old / length)


def exif(orientation: int, count: int = 1) -> bytes:
    """Return an EXIF block of one tag. count: how many numbers the tag claims to have."""
    entry = b"\x12\1\3\0" + count.to_bytes(4, "little") + bytes([orientation, 0, 0, 0])
    return b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + bytes(4)


PICTURE = draw_picture(2, np.random.default_rng(0), (93, 61))
PLAIN = encoded(PICTURE, "JPEG", quality=90)
KEPT = {
    "baseline": PLAIN,
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "4:4:4 with restarts": encoded(PICTURE, "JPEG", subsampling=0, restart_marker_rows=1),
    "grey": encoded(PICTURE.convert("L"), "JPEG"),
    "grey, progressive": encoded(PICTURE.convert("L"), "JPEG", progressive=True),
    "stored as RGB": encoded(PICTURE, "JPEG", keep_rgb=True),
    "EXIF, upright": encoded(PICTURE, "JPEG", exif=exif(1)),
    "EXIF, no orientation known": encoded(PICTURE, "JPEG", exif=exif(0)),
    "a comment and a profile": encoded(PICTURE, "JPEG", comment=b"hello", icc_profile=b"profile"),
    "something after the end": PLAIN + b"junk" * 9,
}
"""Files that the geometry `original` keeps as they are."""
ENCODED = {
    "turned by EXIF": encoded(PICTURE, "JPEG", exif=exif(6)),
    "turned by EXIF, for DALI only": encoded(PICTURE, "JPEG", exif=exif(6, count=70_000)),
    "two EXIF blocks": PLAIN[:2] + 2 * (b"\xff\xe1" + (len(exif(1)) + 2).to_bytes(2, "big") + exif(1)) + PLAIN[2:],
    "CMYK": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "PNG": encoded(PICTURE, "PNG"),
    "several pictures": encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE]),
    "gzip": gzip.compress(PLAIN),
    "a byte before a segment": PLAIN[:2] + b"\xff" + PLAIN[2:],
}
"""Files that it encodes again."""
