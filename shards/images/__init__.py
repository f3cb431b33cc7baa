"""One picture file to one JPEG: decoding, rescaling, encoding."""

from .decoding import GZIP_MAGIC, decode_picture, finds_damage, jpeg_decoder
from .encoding import MAX_SIDE, encode_jpeg
from .opening import MAX_PICTURE, MAX_PIXELS, check_picture_bytes, picture_formats
from .picture import Rescaled, rescale_file, rescale_picture
from .rescaling import RESAMPLINGS, Rescaling, rescale

__all__ = [
    "GZIP_MAGIC",
    "MAX_PICTURE",
    "MAX_PIXELS",
    "MAX_SIDE",
    "RESAMPLINGS",
    "Rescaled",
    "Rescaling",
    "check_picture_bytes",
    "decode_picture",
    "encode_jpeg",
    "finds_damage",
    "jpeg_decoder",
    "picture_formats",
    "rescale",
    "rescale_file",
    "rescale_picture",
]
