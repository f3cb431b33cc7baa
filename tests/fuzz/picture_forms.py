"""The forms of picture files: another format, kind of pixels or size, or a header that declares another size."""

import io
import re
import tarfile
import warnings
import zlib

from edits import Edit, NotApplicableError
from forms import UNWRITABLE, Form, Strategy
from hypothesis import strategies as st
from PIL import Image

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "ICO",
    "TGA",
    "PCX",
    "EPS",
    "PDF",
    "DDS",
    "SGI",
    "IM",
    "XBM",
    "MPO",
    "ICNS",
)
MODES = ("RGB", "L", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F", "1", "YCbCr", "LAB", "HSV")
SIZES = ((40, 33), (1, 1), (3000, 1), (1, 3000), (66, 66), (13_300, 13_300))


def _draw_format(data: bytes) -> Strategy:
    size = st.integers(0, 39).map(lambda number: SIZES[-1] if number == 39 else SIZES[number % (len(SIZES) - 1)])
    orientations = st.sampled_from([None, None, 0, 1, 6, 8, 9, 65535])
    return st.builds(
        lambda kind, mode, size, turned: {"format": kind, "mode": mode, "size": list(size), "orientation": turned},
        st.sampled_from(FORMATS),
        st.sampled_from(MODES),
        size,
        orientations,
    )


def _apply_format(data: bytes, edit: Edit, outside: str) -> bytes:
    """Save the picture in another format, mode and size."""
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            size = tuple(edit["size"])
            large = size[0] > 10_000
            changed = Image.new("L", size, 9) if large else image.resize(size).convert(edit["mode"])
            exif = Image.Exif()
            if edit["orientation"] is not None:
                exif[274] = edit["orientation"]
            changed.save(buffer, "PNG" if large else edit["format"], exif=exif)
    except (*UNWRITABLE, OSError, SystemError) as error:
        raise NotApplicableError from error
    return buffer.getvalue()


def _draw_chunk(data: bytes) -> Strategy:
    sizes = st.sampled_from([0, 1, 2**16, 40_000, 2**31 - 1, 2**31, 2**32 - 1])
    return st.builds(
        lambda width, height, depth, colour: {"ihdr": [width, height, depth, colour]},
        sizes,
        sizes,
        st.sampled_from([0, 1, 8, 16, 255]),
        st.sampled_from([0, 2, 3, 4, 6, 255]),
    )


def _apply_chunk(data: bytes, edit: Edit, outside: str) -> bytes:
    """Give a PNG another size or kind of pixels than its data has, with a right checksum."""
    width, height, depth, colour = edit["ihdr"]
    chunk = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([depth, colour, 0, 0, 0])
    return data[:12] + chunk + zlib.crc32(chunk).to_bytes(4) + data[33:]


FRAME = re.compile(rb"\xff\xc0\x00[\x0b\x11\x14]\x08")
"""Beginning of a baseline JPEG's frame header; height, width and the number of components follow."""


def _draw_frame(data: bytes) -> Strategy:
    frames = [found.end() for found in FRAME.finditer(data)]
    side = st.sampled_from([0, 1, 67, 8_000, 65_500])
    return st.builds(
        lambda at, height, width, parts: {"at": at, "size": [height, width], "parts": parts},
        st.sampled_from(frames),
        side,
        side,
        st.sampled_from([0, 1, 2, 3, 3, 3, 4, 255]),
    )


def _apply_frame(data: bytes, edit: Edit, outside: str) -> bytes:
    """Give a JPEG, alone or in a tar, another size or number of components than its data has."""
    start = edit["at"]
    height, width = edit["size"]
    frame = height.to_bytes(2) + width.to_bytes(2) + bytes([edit["parts"]])
    return data[:start] + frame + data[start + 5 :]


def _draw_sample(data: bytes) -> Strategy:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        samples = [(member.offset_data, member.size) for member in tar if member.name.endswith(".jpg")]
    return st.builds(
        lambda place, edit: {"at": place[0], "length": place[1], "picture": edit},
        st.sampled_from(samples),
        _draw_format(b""),
    )


def _apply_sample(data: bytes, edit: Edit, outside: str) -> bytes:
    """Put a picture of another format, mode or size in the place of a sample's JPEG, as far as there is room."""
    at, length = edit["at"], edit["length"]
    picture = _apply_format(data[at : at + length], edit["picture"], outside)
    return data[:at] + picture[:length].ljust(length, b"\0") + data[at + length :]


PICTURE = Form(_draw_format, _apply_format)
PNG_SIZE = Form(_draw_chunk, _apply_chunk)
JPEG_FRAME = Form(_draw_frame, _apply_frame)
SAMPLE_PICTURE = Form(_draw_sample, _apply_sample)
