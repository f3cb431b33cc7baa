"""The size that a JPEG declares, read without decoding: a decoder takes memory for it before it sees the pixels."""

import struct

_FRAME = struct.Struct(">HHB").unpack_from
# Markers of frames: C0 to CF, but for those of tables (C4, CC) and extensions (C8).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_frame(jpeg: bytes) -> tuple[int, int, int] | None:
    """Return height, width and number of components; None if the segments before the pixels hold no frame header."""
    if jpeg[:2] != b"\xff\xd8":
        return None
    at, end = 2, len(jpeg) - 10
    while at <= end and jpeg[at] == 0xFF:
        if jpeg[at + 1] in _FRAMES:
            height, width, components = _FRAME(jpeg, at + 5)
            return height, width, components
        at += 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    return None
