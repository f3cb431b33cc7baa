"""Write a shard's tar: the bytes of `webdataset.TarWriter`, without importing torch with it (180 MB a worker)."""

import tarfile
from typing import Protocol

LABEL_DIGITS = 5

_BLANK = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)


class _Writes(Protocol):
    def write(self, data: bytes, /) -> int: ...


class TarWriter:
    """Add members to a tar as they come; `close` ends it. No owner and no time: same input, same bytes."""

    def __init__(self, file: _Writes) -> None:
        self._file = file
        self._end = 0

    def add(self, name: str, data: bytes) -> int:
        """Add a member; return where its content lies, bytes from the start."""
        padding = bytes(-len(data) % tarfile.BLOCKSIZE)
        self._file.write(b"".join((_header(name, len(data)), data, padding)))
        start = self._end + tarfile.BLOCKSIZE
        self._end = start + len(data) + len(padding)
        return start

    def add_sample(self, key: str, label: int, jpeg: bytes) -> tuple[int, int]:
        """Add `<key>.cls` and `<key>.jpg`; return where the contents of both lie."""
        return self.add(f"{key}.cls", label_text(label)), self.add(f"{key}.jpg", jpeg)

    def close(self) -> None:
        """Write the end mark, and fill up the last record as `tar` does."""
        end = self._end + 2 * tarfile.BLOCKSIZE
        self._file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))


def _header(name: str, size: int) -> bytes:
    """Fill in what differs from member to member: tarfile would take ten times as long."""
    header = bytearray(_BLANK)
    header[: len(name)] = name.encode("ascii")
    header[100:107] = b"0000444"
    header[124:135] = b"%011o" % size
    header[148:156] = b" " * 8  # as which the checksum counts itself
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def label_text(label: int) -> bytes:
    """Return the content of a sample's `.cls`: five ASCII digits, or -1."""
    return b"-1" if label < 0 else f"{label:0{LABEL_DIGITS}d}".encode()
