"""The files of a store of decoded pixels, which the processes of a machine share."""

import errno
import mmap
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError, Split
from ...shards.base import lock_file, naming_file, open_descriptor
from .identity import Identity, check_identity, identity_of

WORD_BYTES = 8
"""The size of a sample's word in the table."""
PATIENCE = 60
"""How long to wait for another process that makes the same store, seconds."""


class StoreFiles:
    """The open files of a split's store: descriptors of `pixels` and `table`. Made, without pixels, if missing.

    fingerprint: of the dataset. is_writable: False if the disk or the files' modes do not allow writing. Raises
    `FreelightError` if they belong to another dataset or decoder, or are damaged.
    """

    def __init__(self, folder: Path, split: Split, fingerprint: str) -> None:
        self.folder = folder
        self.pixels_path, self._table_path = (folder / f"{split.name}.decoded.{part}" for part in ("pixels", "table"))
        self._header_path = header_path(folder, split.name)
        self.is_writable = True
        self._descriptors: list[int] = []
        identity = identity_of(split, fingerprint)
        if not check_identity(self._header_path, identity):
            self._make(identity, len(split))
        self.pixels, self.table = (self._open(path) for path in (self.pixels_path, self._table_path))
        if os.fstat(self.table).st_size != len(split) * WORD_BYTES:
            raise FreelightError(f"{self._table_path} must have {len(split) * WORD_BYTES} bytes; {self._remedy}")

    def grow(self, length: int) -> None:
        """Make the file of pixels at least `length` bytes long; what is new takes no space until it is written."""
        if not self.is_writable or os.fstat(self.pixels).st_size >= length:
            return
        lock = self._lock()
        try:
            if os.fstat(self.pixels).st_size < length:
                with naming_file(self.pixels_path):
                    os.ftruncate(self.pixels, length)
        finally:
            os.close(lock)

    def map(self, length: int) -> npt.NDArray[np.uint8]:
        """Return the first `length` bytes of pixels, mapped for reading, or what the file has of them."""
        length = min(length, os.fstat(self.pixels).st_size)
        return np.frombuffer(mmap.mmap(self.pixels, length, access=mmap.ACCESS_READ), np.uint8)

    def check_length(self, length: int) -> None:
        """Raise `FreelightError` if the file was cut short: reading on in a mapping would end the process."""
        if os.fstat(self.pixels).st_size < length:
            raise FreelightError(f"{self.pixels_path} was cut short while it was in use; {self._remedy}")

    def check_space(self, wanted: int, images: int) -> None:
        """Raise `FreelightError` if the disk has no space for `wanted` bytes of pixels, some of which may be there."""
        status = os.fstatvfs(self.pixels)
        missing = wanted - os.fstat(self.pixels).st_blocks * 512
        if (free := status.f_bavail * status.f_frsize) < missing:
            raise FreelightError(
                f"{self.folder}: the pixels of {images:,} images take {wanted:,} bytes, of which {missing:,} are "
                f"missing, but the disk has {free:,} bytes free; give a smaller `decoded_bytes`, or free some space"
            )

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    @property
    def is_open(self) -> bool:
        """Whether the files were not closed."""
        return bool(self._descriptors)

    @property
    def _remedy(self) -> str:
        return f"delete {self._header_path.with_suffix('.*')}, to decode again"

    def _make(self, identity: Identity, samples: int) -> None:
        """Make the files, the header last. The table gets its blocks now: a full disk cannot refuse them later."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        try:
            if check_identity(self._header_path, identity):  # another process has made them
                return
            for path, content in ((self.pixels_path, b""), (self._table_path, bytes(samples * WORD_BYTES))):
                path.unlink(missing_ok=True)  # of a process that was killed while it made them
                with naming_file(path), open(path, "xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            identity.save(self._header_path)
        finally:
            os.close(lock)

    def _lock(self) -> int:
        path = self._header_path.with_suffix(".lock")
        try:
            return lock_file(path, patience=PATIENCE)
        except BlockingIOError:
            raise FreelightError(f"{path} has been locked for {PATIENCE} s by another process; end it") from None

    def _open(self, path: Path) -> int:
        """Open a regular file, for reading only if it cannot be written."""
        try:
            os.close(open_descriptor(path, remedy=self._remedy))
        except FileNotFoundError:
            raise FreelightError(f"{path} is missing; {self._remedy}") from None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self.is_writable = False
        self._descriptors.append(descriptor)
        return descriptor

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.close()


def header_path(folder: Path, split: str) -> Path:
    """Return the path of a split's header."""
    return folder / f"{split}.decoded.json"
