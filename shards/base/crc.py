"""The checksum of samples: that of zlib, by the library that is installed and takes the least time."""

try:
    from isal.isal_zlib import crc32
except ImportError:  # of the extra `fast`
    from zlib import crc32

__all__ = ["crc32"]
