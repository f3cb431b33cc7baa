"""Pass over structs in Thrift's compact protocol, in which parquet writes its footer and its page headers.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator

MAX_DEPTH = 16
INT32, INT64, LIST, STRUCT = 5, 6, 9, 12
"""Kinds of values."""
_TRUE, _FALSE, _BYTE, _INT16, _DOUBLE, _BINARY, _SET = 1, 2, 3, 4, 7, 8, 10


class Compact:
    """A position in `data`. Every method moves it past what it reads.

    Raises IndexError if `data` ends within a value, ValueError if it holds something else.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield (number, kind) of a struct's fields. The caller reads or skips each value before the next."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self.integer()
            yield number, head & 0x0F

    def items(self) -> Iterator[int]:
        """Yield the kind of each item of a list. The caller reads or skips each before the next."""
        head = self._byte()
        for _ in range(min(head >> 4 if head >> 4 < 15 else self._varint(), len(self.data))):
            yield head & 0x0F

    def integer(self) -> int:
        """Read an integer."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self) -> bytes:
        """Read bytes or a string."""
        length = self._varint()
        self.position += length
        if self.position > len(self.data):
            raise IndexError("bytes cut short")
        return self.data[self.position - length : self.position]

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value. The value of a boolean field is in its kind."""
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        if kind in (_INT16, INT32, INT64):
            self._varint()
        elif kind == _BINARY:
            self.binary()
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in (LIST, _SET):
            for inner in self.items():
                self.skip(_BYTE if inner in (_TRUE, _FALSE) else inner, depth + 1)
        elif kind == _BYTE:
            self.position += 1
        elif kind == _DOUBLE:
            self.position += 8
        elif kind not in (_TRUE, _FALSE):
            raise ValueError(f"a value of kind {kind}")

    def _byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
