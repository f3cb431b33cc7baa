"""One picture file to one JPEG: decoding, rescaling, encoding."""

from .rescaling import Rescaling, decode_picture, rescale, rescale_file

__all__ = [
    "Rescaling",
    "decode_picture",
    "rescale",
    "rescale_file",
]
