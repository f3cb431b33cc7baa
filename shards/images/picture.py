"""One picture file -> one rescaled JPEG: decode, rescale, encode, and prove that the result decodes."""

from typing import NamedTuple

from .decoding import decode_pixels, prove_decodable
from .encoding import encode_jpeg
from .frames import read_frame
from .rescaling import ORIGINAL, Rescaling, rescale_pixels


class Rescaled(NamedTuple):
    """A rescaled picture: its JPEG, and of the source file `kind` and `damage`, as in `Decoded`, and the size.

    height, width: upright, pixels; 0 if unknown.
    """

    jpeg: bytes
    kind: str
    damage: str = ""
    height: int = 0
    width: int = 0


def rescale_picture(data: bytes, rescaling: Rescaling) -> Rescaled:
    """Turn the bytes of a picture file into the rescaled JPEG, proven to decode.

    With the geometry `original`, a plain JPEG stays as it is.

    Raises `FreelightError` with the reason if the picture is damaged.
    """
    pixels, kind, damage, plain = decode_pixels(data, rescaling.max_pixels)
    height, width = pixels.shape[:2]
    frame = read_frame(data) if plain and rescaling.geometry == ORIGINAL else None
    if frame is not None and frame[:2] == (height, width):
        return Rescaled(data, kind, "", height, width)
    jpeg = encode_jpeg(rescale_pixels(pixels, rescaling), rescaling.quality, rescaling.subsampling)
    prove_decodable(jpeg)
    return Rescaled(jpeg, kind, damage, height, width)


def rescale_file(data: bytes, rescaling: Rescaling) -> bytes:
    """Return a picture file, rescaled, as JPEG."""
    return rescale_picture(data, rescaling).jpeg
