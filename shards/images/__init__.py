"""One picture file to one JPEG: decoding, rescaling, encoding."""

from .decoding import GZIP_MAGIC, MAX_PICTURE, decode_picture, jpeg_decoder
from .encoding import encode_jpeg
from .picture import Rescaled, rescale_file, rescale_picture
from .rescaling import RESAMPLINGS, Rescaling, rescale

__all__ = [
    "GZIP_MAGIC",
    "MAX_PICTURE",
    "RESAMPLINGS",
    "Rescaled",
    "Rescaling",
    "decode_picture",
    "encode_jpeg",
    "jpeg_decoder",
    "rescale",
    "rescale_file",
    "rescale_picture",
]
