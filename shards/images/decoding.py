"""Any picture file -> upright 8-bit RGB pixels: every colour mode, EXIF orientation, gzip, and damage.

JPEGs are decoded by simplejpeg where it is installed (the extra `fast`): Pillow's pixels in three quarters of the time.
"""

import functools
import importlib
import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageChops

from ..base import FreelightError
from .opening import MAX_PICTURE, MAX_PIXELS, check_picture_bytes, open_picture
from .upright import Pixels, find_turn, surely_upright

GZIP_MAGIC = b"\x1f\x8b"
# How libjpeg's warnings of damaged pixels begin. It warns of other things too, such as an unknown revision of JFIF.
_DAMAGED = ("Corrupt JPEG data", "Inconsistent progression", "Premature end")
# Pixels that are converted at a time, so that a large picture is never held twice.
_STRIP = 1 << 22


class Decoded(NamedTuple):
    """A decoded picture.

    pixels: uint8 (H, W, 3), RGB, possibly not contiguous. kind: of the file, "colour", "greyscale" or "cmyk". damage:
    the JPEG decoder's warning that some pixels are probably wrong; "" if there is none, or without simplejpeg. plain:
    whether the file is a sound RGB or grey JPEG that every reader shows as these pixels, upright.
    """

    pixels: Pixels
    kind: str
    damage: str
    plain: bool


def decode_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture file to an upright 8-bit RGB image.

    CMYK, greyscale, palette, alpha (dropped) and 16-bit files become RGB. EXIF orientation is applied; an unreadable
    EXIF block is ignored. Raises `FreelightError` with the reason if any part of the picture cannot be decoded, or if
    it has more than `max_pixels`.
    """
    return Image.fromarray(decode_pixels(data, max_pixels).pixels)


def decode_pixels(data: bytes, max_pixels: int) -> Decoded:
    """Decode a picture file as `decode_picture` does."""
    with _explaining():
        data, image = _open(data, max_pixels)
        kind = _kind(image.mode)
        pixels, damage = _decode_jpeg(data, image) if image.format in ("JPEG", "MPO") else (None, "")
        plain = image.format == "JPEG" and image.mode in ("RGB", "L") and (pixels is not None or not finds_damage())
        if pixels is None:
            image.load()
            pixels = _to_rgb(image)
        turn = find_turn(image)
        return Decoded(turn(pixels) if turn else pixels, kind, damage, plain and surely_upright(image))


def picture_size(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the height and width of a picture file, upright, pixels. Its pixels are not decoded.

    Raises `FreelightError` as `decode_picture` does, but not for damaged pixels.
    """
    with _explaining():
        _, image = _open(data, max_pixels)
        turn = find_turn(image)
        stored = np.empty((image.height, image.width, 0), np.uint8)
        height, width = (turn(stored) if turn else stored).shape[:2]
        return height, width


@contextmanager
def _explaining() -> Iterator[None]:
    """Raise every error as a `FreelightError` with the reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings are about metadata; damaged pixels raise errors
            yield
    except FreelightError:
        raise
    except Exception as error:  # Pillow's readers raise errors of any type; one bad file must not stop a million
        raise FreelightError(f"cannot decode: {str(error) or type(error).__name__}") from error


def _open(data: bytes, max_pixels: int) -> tuple[bytes, Image.Image]:
    """Open a picture file. Return its bytes without gzip, and the image, whose pixels are not decoded yet."""
    if not data:
        raise FreelightError("cannot decode: the file is empty")
    check_picture_bytes(len(data))
    data = _unzip(data)
    return data, open_picture(data, max_pixels)


def prove_decodable(jpeg: bytes) -> None:
    """Raise an error if a JPEG does not decode. Decode at an eighth of the size: that reads every code, quickly."""
    fast = _simplejpeg()
    if fast is not None:
        fast.decode_jpeg(jpeg, min_height=1, min_width=1)
        return
    with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()


def jpeg_decoder() -> str:
    """Return the name and version of the library that decodes the source's JPEGs."""
    if _simplejpeg() is None:
        return f"Pillow {PIL.__version__}"
    return f"simplejpeg {metadata.version('simplejpeg')}"


def finds_damage() -> bool:
    """Tell whether damage in the middle of a JPEG is noticed: libjpeg warns of it, but Pillow drops the warning."""
    return _simplejpeg() is not None


@functools.cache
def _simplejpeg() -> Any:
    """Import simplejpeg on first use, so that importing this package stays quick. None if it is not installed."""
    try:
        return importlib.import_module("simplejpeg")
    except ModuleNotFoundError:
        return None


def _decode_jpeg(data: bytes, image: Image.Image) -> tuple[Pixels | None, str]:
    """Decode a sound RGB or grey JPEG with simplejpeg. Return its pixels, or None if Pillow must decode it.

    Also return the decoder's warning of damaged data, with which Pillow decodes on. A CMYK JPEG is only tried, at an
    eighth of the size.
    """
    fast = _simplejpeg()
    if fast is None:
        return None, ""
    try:
        if fast.decode_jpeg_header(data)[:2] != (image.height, image.width):
            return None, ""
        if image.mode == "CMYK":
            fast.decode_jpeg(data, colorspace="CMYK", min_height=1, min_width=1, min_factor=8)
            return None, ""
        return fast.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False), ""
    except ValueError as error:
        return None, str(error) if str(error).startswith(_DAMAGED) else ""


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


def _to_rgb(image: Image.Image) -> Pixels:
    """Convert any mode to 8-bit RGB, strip by strip; alpha is dropped."""
    # Pillow inverts every CMYK JPEG. Only Adobe's are stored inverted, so undo it for files without their marker.
    invert = image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info
    width, height = image.size
    rows = max(1, _STRIP // width)
    if rows >= height:
        return _strip_to_rgb(image, invert)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = _strip_to_rgb(strip, invert)
    return pixels


def _strip_to_rgb(image: Image.Image, invert: bool) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if invert:
        image = ImageChops.invert(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
