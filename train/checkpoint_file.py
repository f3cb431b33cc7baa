"""Read and write files of torch: nothing in them is executed, and no size that they declare is believed."""

import os
import pickletools
import re
from pathlib import Path
from typing import IO, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from ..shards import FreelightError
from ..shards.base import atomic_write, open_regular

REMEDY = "name another file"
USED = re.compile(r"collections OrderedDict|torch \w+Storage|torch\._utils _rebuild_tensor_v2")
"""What the pickle of a checkpoint refers to. torch allows more, some of which takes memory for a declared size."""

_END, _LOCATOR, _END_64 = 22, 20, 56
"""Bytes of a zip's last records: its end, the locator of the 64-bit end before it, and that end."""


def read_content(path: Path) -> object:
    """Return what a checkpoint holds: tensors on the CPU and plain values, which are still to be checked.

    Takes no more memory than the file has bytes. Raises `FreelightError` if there is no file, if torch did not write
    it, or if even one byte of its content is damaged.
    """
    try:
        with open_regular(path, remedy=REMEDY) as file, ZipFile(file) as archive:
            _check_archive(archive, os.fstat(file.fileno()).st_size)
            _check_ends(archive, file)
        return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise FreelightError(f"there is no checkpoint {path}; correct the path") from None
    except (FreelightError, OSError):
        raise
    except Exception as error:  # zipfile and torch.load raise many kinds of error for foreign files
        raise FreelightError(f"{path} is damaged or not a checkpoint; {REMEDY}") from error


def _check_archive(archive: ZipFile, size: int) -> None:
    """Raise `BadZipFile` unless this is an undamaged archive as torch writes it, with at most `size` bytes in all."""
    members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):  # TorchScript's: torch would warn
        raise BadZipFile
    names = {member.filename.lower() for member in members}
    # Stored members have their bytes in the file; a compressed one may be larger than memory.
    stored = all(member.compress_type == ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > size or len(names) < len(members):
        raise BadZipFile
    if archive.testzip():  # torch writes checksums but never checks them
        raise BadZipFile
    (pickled,) = (member for member in members if member.filename.lower().endswith("data.pkl"))
    for operation, argument, _ in pickletools.genops(archive.read(pickled)):
        foreign = operation.name == "GLOBAL" and not USED.fullmatch(str(argument))
        if foreign or (isinstance(argument, int) and not -(2**63) <= argument < 2**63):
            raise BadZipFile


def _check_ends(archive: ZipFile, file: IO[bytes]) -> None:
    """Raise `BadZipFile` if torch could find anything else in the file than `zipfile` does.

    torch reads a file that does not begin with a member as a plain pickle, whatever follows. It looks for the list of
    members where the last record says, which may be another place than the one where `zipfile` looks.
    """
    end = file.seek(-_END, os.SEEK_END)
    file.seek(end - _LOCATOR - _END_64)
    locator = file.read(_END_64 + _LOCATOR)[_END_64:]
    pointed = locator.startswith(b"PK\x06\x07") and int.from_bytes(locator[8:16], "little") != end - _LOCATOR - _END_64
    if archive.comment or pointed or min(member.header_offset for member in archive.infolist()) > 0:
        raise BadZipFile


def write_content(path: Path, content: object) -> None:
    """Write tensors and plain values atomically, as `torch.save` does. Raises the `OSError` of a full disk."""
    with atomic_write(path) as file:
        remembering = _RememberingFile(file)
        try:
            torch.save(content, cast(IO[bytes], remembering))
        except RuntimeError:
            if remembering.error is None:
                raise
            raise remembering.error from None


class _RememberingFile:
    """A file for `torch.save`, which raises a `RuntimeError` of its own after a failed write. `error`: the cause."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
