"""The EXIF orientation of a picture file: how its stored pixels are turned to be upright."""

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

Pixels = npt.NDArray[np.uint8]
Turn = Callable[[Pixels], Pixels]

# A larger EXIF block is not read. A JPEG segment holds a quarter of it.
_MAX_EXIF = 256 << 10
# EXIF orientation -> the view of the pixels that is upright. Orientation 1 is upright.
_TURNS: dict[object, Turn] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
# An entry of EXIF's orientation, little- or big-endian, of any type and count, whose value turns a picture.
_TURNING_ENTRY = re.compile(rb"(?s)\x12\x01.{6}[\2-\x08]|\x01\x12.{6}(?:\0|\0\0\0)[\2-\x08]")


def find_turn(image: Image.Image) -> Turn | None:
    """Return the view of the pixels of `image` that is upright, or None if they are stored upright.

    Ignore a corrupt EXIF block: some ImageNet pictures have one. `ImageOps.exif_transpose` is not used: it also
    rewrites the block, and fails on a damaged one.
    """
    if len(image.info.get("exif", b"")) > _MAX_EXIF:
        return None
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # Pillow's reader of EXIF raises errors of any type
        return None


def surely_upright(image: Image.Image) -> bool:
    """Tell whether every reader shows the pixels of `image` as they are stored.

    Readers differ on damaged and repeated EXIF blocks: DALI turns pictures that Pillow does not.
    """
    exif = image.info.get("exif", b"")
    return len(exif) <= _MAX_EXIF and find_turn(image) is None and not _TURNING_ENTRY.search(exif)
