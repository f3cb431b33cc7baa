"""One picture file -> one rescaled JPEG: decode, rescale, encode, and prove that the result decodes."""

from dataclasses import dataclass
from typing import NamedTuple

from ..base.errors import FreelightError
from .decoding import decode_pixels, prove_decodable
from .encoding import MAX_SIDE, SUBSAMPLINGS, encode_jpeg
from .rescaling import AUTHORS, RESAMPLINGS, rescale_pixels

ORIENTATION = "EXIF orientation applied"


@dataclass(frozen=True, kw_only=True)
class Rescaling:
    """How pictures are rescaled and stored; recorded in the manifest.

    size: side of the square output, pixels. quality: JPEG quality, 1-100 (the authors': 95). resampling: a name in
    `RESAMPLINGS`; "authors" averages over exact areas when it shrinks and is bicubic when it enlarges, the others are
    Pillow's filters for both. subsampling: of the JPEG's chroma planes. orientation: has one value, which the manifest
    records.
    """

    size: int = 256
    quality: int = 95
    resampling: str = AUTHORS
    subsampling: str = "4:2:0"
    orientation: str = ORIENTATION

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIDE:
            raise FreelightError(f"`size` (={self.size}) must be at least 1 pixel and at most {MAX_SIDE}, JPEG's limit")
        if not 1 <= self.quality <= 100:
            raise FreelightError(f"`quality` (={self.quality}) must lie in 1..100")
        for name, value, known in (
            ("resampling", self.resampling, RESAMPLINGS),
            ("subsampling", self.subsampling, SUBSAMPLINGS),
            ("orientation", self.orientation, (ORIENTATION,)),
        ):
            if value not in known:
                raise FreelightError(f"`{name}` (={value}) must be one of {', '.join(known)}")


class Rescaled(NamedTuple):
    """A rescaled picture: its JPEG, and the kind of the source file: "colour", "greyscale" or "cmyk"."""

    jpeg: bytes
    kind: str


def rescale_picture(data: bytes, rescaling: Rescaling) -> Rescaled:
    """Turn the bytes of a picture file into the rescaled JPEG, proven to decode.

    Raises `FreelightError` with the reason if the picture is damaged.
    """
    pixels, kind = decode_pixels(data)
    square = rescale_pixels(pixels, rescaling.size, rescaling.resampling)
    jpeg = encode_jpeg(square, rescaling.quality, rescaling.subsampling)
    prove_decodable(jpeg)
    return Rescaled(jpeg, kind)


def rescale_file(data: bytes, rescaling: Rescaling) -> bytes:
    """Return the JPEG of `rescale_picture` alone."""
    return rescale_picture(data, rescaling).jpeg
