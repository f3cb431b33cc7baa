"""One picture file to one JPEG: decoding, rescaling, encoding."""

from .decoding import GZIP_MAGIC, decode_picture, finds_damage, jpeg_decoder, picture_size
from .encoding import MAX_SIDE, encode_jpeg
from .frames import FrameReader, read_frame
from .headers import Header, read_header
from .opening import MAX_PICTURE, MAX_PIXELS, PILLOWS_LIMIT, check_picture_bytes, picture_formats
from .picture import Rescaled, rescale_file, rescale_picture
from .rescaling import GEOMETRIES, ORIGINAL, RESAMPLINGS, SQUARE, Rescaling, rescale

__all__ = [
    "GEOMETRIES",
    "GZIP_MAGIC",
    "MAX_PICTURE",
    "MAX_PIXELS",
    "MAX_SIDE",
    "ORIGINAL",
    "PILLOWS_LIMIT",
    "RESAMPLINGS",
    "SQUARE",
    "FrameReader",
    "Header",
    "Rescaled",
    "Rescaling",
    "check_picture_bytes",
    "decode_picture",
    "encode_jpeg",
    "finds_damage",
    "jpeg_decoder",
    "picture_formats",
    "picture_size",
    "read_frame",
    "read_header",
    "rescale",
    "rescale_file",
    "rescale_picture",
]
