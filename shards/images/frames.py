"""The size that a JPEG declares, read without decoding: a decoder takes memory for it before it sees the pixels."""

import struct

_FRAME = struct.Struct(">HHB").unpack_from
# Markers of frames: C0 to CF, but for those of tables (C4, CC) and extensions (C8).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _APP1 = 0xDA, 0xE1


def read_frame(jpeg: bytes | memoryview) -> tuple[int, int, int] | None:
    """Return height, width and number of components; None unless all segments up to the pixels are in order.

    Decoders differ in what they make of others: libjpeg looks for the next marker, DALI's ends the pipeline. Nor may
    there be two EXIF blocks: if their orientations differ, DALI 2.4 writes beside its memory and kills the process.
    """
    if jpeg[:2] != b"\xff\xd8":
        return None
    frame: tuple[int, int, int] | None = None
    exif = False
    at, end = 2, len(jpeg) - 10
    while at <= end and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == _SCAN:
            return frame
        if marker in _FRAMES:
            if frame is not None:
                return None
            height, width, components = _FRAME(jpeg, at + 5)
            frame = height, width, components
        elif marker == _APP1 and jpeg[at + 4 : at + 8] == b"Exif":
            if exif:
                return None
            exif = True
        at += 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    return None
