"""The upright size of a JPEG, PNG or WebP, read from its header without decoding.

The loader's decoder turns a picture as its EXIF orientation says, so the size is that of the turned picture. With
several EXIF blocks that differ it writes beside its memory and kills the process (DALI 2.4), so these are refused.
"""

import struct
from typing import NamedTuple

from ..base import FreelightError
from .opening import MAX_PIXELS

_PNG = b"\x89PNG\r\n\x1a\n"
# Baseline, extended and progressive; the loader's decoder reads no lossless or arithmetic-coded JPEG.
_FRAMES, _OTHER_FRAMES = frozenset({0xC0, 0xC1, 0xC2}), frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _APP1, _EXIF = 0xDA, 0xE1, b"Exif\0\0"
_FRAME = struct.Struct(">BHHB").unpack_from
_KINDS = {1: "greyscale", 3: "colour", 4: "cmyk"}
_ORIENTATION, _SHORTS = 0x0112, (3, 8)
# Upper bounds of the parts that are looked at. Sound files have some ten segments or tags, and PNGs some thousand
# chunks, of which the text and EXIF ones lie before or after the pixels.
_MAX_PARTS, _MAX_TAGS = 1 << 16, 1 << 10


class Header(NamedTuple):
    """What a header says. height, width: upright, pixels. kind: "colour", "greyscale" or "cmyk"."""

    format: str
    height: int
    width: int
    kind: str


def read_header(data: bytes) -> Header:
    """Return what the header of a picture says. Raises `FreelightError` with the reason if it cannot be used."""
    try:
        if data[:2] == b"\xff\xd8":
            found, orientation = _read_jpeg(data)
        elif data.startswith(_PNG):
            found, orientation = _read_png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            found, orientation = _read_webp(data)
        else:
            raise FreelightError("is not a JPEG, PNG or WebP")
    except (struct.error, IndexError):
        raise FreelightError("its header is cut short") from None
    if orientation > 4:
        found = found._replace(height=found.width, width=found.height)
    if not 0 < found.height * found.width <= MAX_PIXELS:
        raise FreelightError(f"declares {found.width} x {found.height} pixels; 1 to {MAX_PIXELS} are read")
    return found


def _read_jpeg(jpeg: bytes) -> tuple[Header, int]:
    """Return the header as stored, and the EXIF orientation. All segments up to the pixels must be in order."""
    frame: Header | None = None
    exif: list[bytes] = []
    at = 2
    while jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker in _FRAMES:
            precision, height, width, components = _FRAME(jpeg, at + 4)
            if frame is not None or precision != 8 or components not in _KINDS:
                raise FreelightError(f"is a JPEG of {components} components of {precision} bits, or of several frames")
            frame = Header("JPEG", height, width, _KINDS[components])
        elif marker == _APP1 and jpeg[at + 4 : at + 10] == _EXIF:
            exif.append(jpeg[at + 10 : at + 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])])
        elif marker in _OTHER_FRAMES:
            raise FreelightError("is a lossless or arithmetic-coded JPEG")
        elif marker == _SCAN and frame is not None:
            return frame, _read_orientation(exif)
        at += 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    raise FreelightError("its header is damaged")


def _read_png(png: bytes) -> tuple[Header, int]:
    width, height, _, colours = struct.unpack_from(">IIBB", png, 16)
    header = Header("PNG", height, width, "colour" if colours & 2 else "greyscale")
    exif, at = [], len(_PNG)
    for _ in range(_MAX_PARTS):
        if at + 8 > len(png):
            break
        (length,), name = struct.unpack_from(">I", png, at), png[at + 4 : at + 8]
        if name == b"eXIf":
            exif.append(png[at + 8 : at + 8 + length])
        at += 12 + length
    return header, _read_orientation(exif)


def _read_webp(webp: bytes) -> tuple[Header, int]:
    name = webp[12:16]
    if name == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", webp, 26))
    elif name == b"VP8L":
        (bits,) = struct.unpack_from("<I", webp, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif name == b"VP8X":
        width, height = (1 + int.from_bytes(webp[at : at + 3], "little") for at in (24, 27))
    else:
        raise FreelightError("its header is damaged")
    exif, at = [], 12
    for _ in range(_MAX_PARTS):
        if at + 8 > len(webp):
            break
        (length,) = struct.unpack_from("<I", webp, at + 4)
        if webp[at : at + 4] == b"EXIF":
            exif.append(webp[at + 8 : at + 8 + length].removeprefix(_EXIF))
        at += 8 + length + length % 2
    return Header("WEBP", height, width, "colour"), _read_orientation(exif)


def _read_orientation(blocks: list[bytes]) -> int:
    """Return the orientation, 1..8, in the only EXIF block; 1 where DALI finds none: its list must fit the block."""
    if len(blocks) > 1:
        raise FreelightError("has several EXIF blocks")
    exif = blocks[0] if blocks else b""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (tags,) = struct.unpack_from(f"{order}H", exif, at)
        end = at + 2 + 12 * tags
        if tags > _MAX_TAGS or end > len(exif):
            return 1
        for place in range(at + 2, end, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
            if tag == _ORIENTATION:
                return value if kind in _SHORTS and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
