"""Any picture file -> upright 8-bit RGB pixels: every colour mode, EXIF orientation, gzip, and damage.

JPEGs are decoded by simplejpeg where it is installed (the extra `fast`): Pillow's pixels in three quarters of the time.
"""

import functools
import importlib
import io
import warnings
import zlib
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from ..base.errors import FreelightError

Pixels = npt.NDArray[np.uint8]

GZIP_MAGIC = b"\x1f\x8b"
# Upper bound for a picture within an archive, and for the content of a gzipped one, bytes. ImageNet's largest picture
# has a tenth of it.
MAX_PICTURE = 128 << 20

# EXIF orientation -> the transposition that makes the picture upright. Orientation 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(data: bytes) -> Image.Image:
    """Decode a picture file to an upright 8-bit RGB image.

    CMYK, greyscale, palette, alpha (dropped) and 16-bit files become RGB. EXIF orientation is applied; an unreadable
    EXIF block is ignored. Raises `FreelightError` with the reason if any part of the picture cannot be decoded.
    """
    return Image.fromarray(decode_pixels(data)[0])


def decode_pixels(data: bytes) -> tuple[Pixels, str]:
    """Return what `decode_picture` returns, as uint8 (H, W, 3), and the kind: "colour", "greyscale" or "cmyk"."""
    if not data:
        raise FreelightError("cannot decode: the file is empty")
    data = _unzip(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings are about metadata; damaged pixels raise errors
            image: Image.Image = Image.open(io.BytesIO(data))
            kind = _kind(image.mode)
            pixels = _decode_jpeg(data) if image.format == "JPEG" and image.mode in ("RGB", "L") else None
            if pixels is None:
                image.load()
                pixels = np.asarray(_to_rgb(image))
            return _make_upright(pixels, image), kind
    except MemoryError:
        raise
    except UnidentifiedImageError as error:  # its own text holds a memory address, which differs from run to run
        raise FreelightError("cannot decode: not a picture in a known format") from error
    except Exception as error:  # Pillow's readers raise errors of any type; one bad file must not stop a million
        raise FreelightError(f"cannot decode: {error}") from error


def prove_decodable(jpeg: bytes) -> None:
    """Raise an error if a JPEG does not decode. Decode at an eighth of the size: that reads every code, quickly."""
    fast = _simplejpeg()
    if fast is not None:
        fast.decode_jpeg(jpeg, min_height=1, min_width=1)
        return
    with Image.open(io.BytesIO(jpeg)) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()


def jpeg_decoder() -> str:
    """Return the name and version of the library that decodes the source's JPEGs."""
    if _simplejpeg() is None:
        return f"Pillow {PIL.__version__}"
    return f"simplejpeg {metadata.version('simplejpeg')}"


@functools.cache
def _simplejpeg() -> Any:
    """Import simplejpeg on first use, so that importing this package stays quick. None if it is not installed."""
    try:
        return importlib.import_module("simplejpeg")
    except ModuleNotFoundError:
        return None


def _decode_jpeg(data: bytes) -> Pixels | None:
    """Decode a sound JPEG with simplejpeg. Return None if Pillow must decode it, or must report the damage."""
    fast = _simplejpeg()
    if fast is None:
        return None
    try:
        pixels: Pixels = fast.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
        return pixels
    except ValueError:
        return None


def _unzip(data: bytes) -> bytes:
    """Return the content of a gzip file (ImageNet 2010 has one named .JPEG), and any other data unchanged."""
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        reader = zlib.decompressobj(wbits=31)
        content = reader.decompress(data, MAX_PICTURE)
    except zlib.error as error:
        raise FreelightError(f"cannot decode: damaged gzip ({error})") from error
    if not reader.eof:
        raise FreelightError(f"cannot decode: gzip cut short, or of more than {MAX_PICTURE >> 20} MiB")
    return content


def _kind(mode: str) -> str:
    if mode == "CMYK":
        return "cmyk"
    return "greyscale" if mode in ("1", "L", "LA", "La", "F") or mode.startswith("I") else "colour"


def _make_upright(pixels: Pixels, image: Image.Image) -> Pixels:
    """Apply the EXIF orientation of `image`. Ignore a corrupt EXIF block: some ImageNet pictures have one.

    `ImageOps.exif_transpose` is not used: it also rewrites the block, and fails on a damaged one.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return pixels
    if orientation not in _UPRIGHT:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB; alpha is dropped."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        # Pillow inverts every CMYK JPEG. Only Adobe's are stored inverted, so undo it for files without their marker.
        image = ImageChops.invert(image)
    return image.convert("RGB")
