"""Open a picture file that may be hostile: a list of formats, and limits that hold before its pixels are decoded."""

import functools
import io
import re
from typing import Literal

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from ..base import FreelightError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
"""The formats that are opened, under Pillow's names. Others run more code: for EPS, Pillow starts Ghostscript."""
MAX_PICTURE = 128 << 20
"""Largest picture, bytes, also in an archive and after gzip. ImageNet's largest has a tenth of it."""
MAX_PIXELS = 64_000_000
"""Default of the largest picture, pixels. It keeps a worker below 1 GB; ImageNet's largest has 61 million."""
PILLOWS_LIMIT = 178_956_970
"""Pixels above which Pillow itself refuses a picture."""

# What else carries a picture's name, for the reason: the first bytes, the number of bytes before them, and the format.
_OTHERS = (
    (b"%!PS", 0, "EPS"),
    (b"\xc5\xd0\xd3\xc6", 0, "EPS"),
    (b"%PDF", 0, "PDF"),
    (b"8BPS", 0, "PSD"),
    (b"\0\0\1\0", 0, "ICO"),
    (b"ftyphei", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIC"),
    (b"<svg", 0, "SVG"),
    (b"<!DOCTYPE", 0, "HTML"),
    (b"<html", 0, "HTML"),
)
# How many times more memory per pixel a decoder needs than those of the other formats: it has so much smaller a limit.
_COSTLY = {"WEBP": 2, "AVIF": 2, "JPEG2000": 4}
# The same for decoders that Pillow has in Python, which take 2 microseconds a pixel: BMP's run lengths, and PPM whose
# greatest value is not 255.
_IN_PYTHON = 16
# A reader reads a file in parts, so the number of its reads limits how many parts a hostile file makes it loop over.
# Sound files need a hundred for the header. The pixels of a large PNG may lie in 16,000 chunks of five reads.
_HEADER_READS, _PIXEL_READS = 4_000, 4_000_000
# libjpeg visits every pixel in every scan, in some 2 ns, and Pillow again if the file is damaged. Sound files have some
# ten scans.
_MAX_SCANNED_PIXELS = 2_000_000_000
_LEAST_SCAN = 12  # bytes
# A marker of a JPEG; not those of restarts, and not the stuffed byte.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SCAN, _END, _WITHOUT_LENGTH = b"\xda", b"\xd9", (b"\x01", b"\xd8")
# Largest number of tags in a TIFF, and of numbers in a tag; the lists of strips and tiles are the longest.
_MAX_TAGS, _MAX_TAG_VALUES = 1 << 12, 1 << 17
_BYTES_PER_VALUE = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8])  # by TIFF's types
_TEXT_TYPES = (1, 2, 7)  # values that Pillow leaves as bytes
_TILE_WIDTH, _TILE_LENGTH = 322, 323


def open_picture(data: bytes, max_pixels: int) -> Image.Image:
    """Open a picture file of one of the `FORMATS`, within limits; its pixels are not decoded yet.

    max_pixels: the largest width x height; of WebP and AVIF a half of it, of JPEG 2000 a quarter, and of run-length
    BMP and unusual PPM a sixteenth.

    Raises `FreelightError` with the reason, and what Pillow raises.
    """
    if data[:4] in (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0"):
        _check_tags(data)
    file = _CountedFile(data)
    try:
        image: Image.Image = Image.open(file, formats=picture_formats())
    except UnidentifiedImageError as error:  # its own text holds a memory address, which differs from run to run
        raise FreelightError(_describe_unknown(data)) from error
    _check_pixels(image, data, max_pixels)
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        kind = "floating-point numbers" if image.mode == "F" else "integers"
        raise FreelightError(
            f"cannot decode: 32-bit {kind}, whose range is not known; convert it to 8 bits per channel"
        )
    file.left = _PIXEL_READS
    return image


def check_picture_bytes(size: int) -> None:
    """Raise `FreelightError` if a picture file of `size` bytes is too large to be read."""
    if size > MAX_PICTURE:
        raise FreelightError(f"cannot decode: the file has {size} bytes, more than {MAX_PICTURE >> 20} MiB")


class _CountedFile(io.BytesIO):
    """A picture file. Raises `FreelightError` when its `left` reads are used up."""

    left = _HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise FreelightError("cannot decode: the file is cut into too many parts")
        return super().read(size)


@functools.cache
def picture_formats() -> tuple[str, ...]:
    """Return the formats that this Pillow reads. `Image.open` fails for a name that it does not know."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _describe_unknown(data: bytes) -> str:
    for magic, place, name in _OTHERS:
        if data.startswith(magic, place):
            return f"cannot decode: {name} is not opened, only {', '.join(FORMATS)}; convert it"
    return "cannot decode: not a picture in a known format"


def _check_pixels(image: Image.Image, data: bytes, max_pixels: int) -> None:
    codec = image.tile[0][0] if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    if codec == "ppm_plain":  # its reader takes hours for a file of comments
        raise FreelightError("cannot decode: a PPM of text is not opened; convert it")
    limit = max_pixels // (_IN_PYTHON if codec in Image.DECODERS else _COSTLY.get(str(image.format), 1))
    tags = getattr(image, "tag_v2", {})
    for what, width, height in (
        ("", *image.size),
        (" in a tile", tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)),
    ):
        if width * height > limit:
            raise FreelightError(
                f"cannot decode: {width} x {height} pixels{what} are more than {limit} (max_pixels for {image.format})"
            )
    if image.format in ("JPEG", "MPO"):
        pixels = image.width * image.height
        if pixels * (len(data) // _LEAST_SCAN) > _MAX_SCANNED_PIXELS:  # counting takes a fiftieth of decoding
            most = _MAX_SCANNED_PIXELS // pixels
            if data.count(b"\xff\xda") > most and _has_more_scans(data, most):
                raise FreelightError(f"cannot decode: more than {most} scans are too many for {pixels} pixels")


def _has_more_scans(jpeg: bytes, most: int) -> bool:
    """Tell whether the first image of a JPEG has more than `most` scans. A video after it may look like scans."""
    scans = place = 0
    for _ in range(_HEADER_READS):
        found = _MARKER.search(jpeg, place)
        if found is None or found[1] == _END:
            return False
        scans += found[1] == _SCAN
        if scans > most:
            return True
        place = found.end()
        if found[1] not in _WITHOUT_LENGTH:
            place += int.from_bytes(jpeg[place : place + 2], "big")
    return True


def _check_tags(tiff: bytes) -> None:
    """Raise `FreelightError` if the tags in the first directory of a TIFF file hold more than a sound file's do.

    Pillow reads each tag's bytes, and makes a Python object of each number. It passes over a tag that ends after the
    file, as a few sound pictures have.
    """
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"
    wide, start, head = (8, 8, 8) if b"+" in tiff[2:4] else (4, 4, 2)  # BigTIFF has wider numbers
    first = int.from_bytes(tiff[start : start + wide], order)
    count = int.from_bytes(tiff[first : first + head], order)
    number = f"{'<' if order == 'little' else '>'}u{wide}"
    entry = np.dtype([("tag", number[0] + "u2"), ("type", number[0] + "u2"), ("count", number), ("value", number)])
    count = min(count, (len(tiff) - first - head) // entry.itemsize, _MAX_TAGS + 1)
    entries = np.frombuffer(tiff, entry, max(count, 0), first + head if count > 0 else 0)
    types = np.where(entries["type"] < len(_BYTES_PER_VALUE), entries["type"], 0)
    counts = entries["count"].astype(np.float64)  # cannot overflow
    sizes = counts * _BYTES_PER_VALUE[types]
    left = np.where(sizes > wide, len(tiff) - entries["value"].astype(np.float64), sizes).clip(0)  # bytes to the end
    numbers = counts[(sizes > 0) & (sizes <= left) & ~np.isin(types, _TEXT_TYPES)]
    read = np.minimum(sizes, left).sum()
    if count > _MAX_TAGS or read > 4 * len(tiff) or (numbers > _MAX_TAG_VALUES).any():
        raise FreelightError("cannot decode: the TIFF's tags hold more than a sound file's")
