"""Read NumPy files whose dtypes, shapes and values are checked; no size that a file declares is believed.

Memory is taken only for bytes that the file has. NumPy's own reader is not used: it takes memory for the declared
shape, evaluates the header as Python, and raises errors of many types.
"""

import io
import math
import os
import re
import sys
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from .errors import FreelightError
from .validation import open_regular

_MAX_HEADER = 1 << 16
_CHUNK = 1 << 20
# The header that numpy.save writes.
_HEADER = re.compile(r"\{'descr': (.*), 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n")


@dataclass(frozen=True)
class Array:
    """What an array must be.

    dtype: exact; `np.str_` is text of any length. shape: a length, or a name for any length; equal names stand for
    equal lengths in all arrays of a file. Floats must be finite.
    """

    dtype: npt.DTypeLike
    shape: tuple[int | str, ...]


def read_array(path: Path, expected: Array, *, remedy: str) -> npt.NDArray[Any]:
    """Return the checked array of an `.npy` file. Raises `FileNotFoundError` if there is none."""
    with open_regular(path, remedy=remedy) as file:
        return _read_array(file, os.fstat(file.fileno()).st_size, expected, {}, str(path), remedy)


def parse_array(data: bytes, dtypes: Collection[str], *, where: str, remedy: str) -> npt.NDArray[Any]:
    """Return the checked array in the bytes of an `.npy` file, of any shape and one of `dtypes`, NumPy's texts."""
    found = _HEADER.search(data[:_MAX_HEADER].decode("latin-1"))
    if found is None:
        raise FreelightError(f"{where} is not an array of numpy.save; {remedy}")
    dtype, lengths = found[1].strip("'"), found[3].replace(",", " ").split()
    if dtype not in dtypes:
        raise FreelightError(f"{where} holds {found[1][:80]}, not one of {', '.join(dtypes)}; {remedy}")
    # NumPy raises errors of its own for shapes that it cannot have, also if one length is 0.
    is_large = len(lengths) > 32 or any(len(length) > 9 for length in lengths)
    if is_large or math.prod(max(1, int(length)) for length in lengths) > len(data):
        shape = f"({found[3][:80]})"
        raise FreelightError(f"{where} declares the shape {shape}, too large for its {len(data)} bytes; {remedy}")
    expected = Array(dtype, tuple(f"axis {axis}" for axis in range(len(lengths))))
    return _read_array(io.BytesIO(data), len(data), expected, {}, where, remedy)


def map_array(path: Path, expected: Array, *, remedy: str) -> npt.NDArray[Any]:
    """Return the array of an `.npy` file, mapped and read-only, so that it may exceed memory; values are not checked.

    Raises `FileNotFoundError` if there is none.
    """
    with open_regular(path, remedy=remedy) as file:
        header = _read_header(file, os.fstat(file.fileno()).st_size, expected, {}, str(path), remedy)
        return np.memmap(file, header.dtype, "r", header.offset, header.shape, order="F" if header.fortran else "C")


def read_arrays(
    path: Path, expected: Mapping[str, Array], *, remedy: str, optional: Collection[str] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Return the checked arrays of an `.npz` file, as `numpy.savez` writes it; other arrays in it are ignored.

    optional: names of arrays that may be missing.

    Raises `FileNotFoundError` if there is none.
    """
    arrays = {}
    lengths: dict[str, int] = {}
    with open_regular(path, remedy=remedy) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                members = {member.filename: member for member in archive.infolist()}
                for name, array in expected.items():
                    member = members.get(f"{name}.npy")
                    if member is None and name in optional:
                        continue
                    if member is None:
                        raise FreelightError(f"{path} has no array {name!r}; {remedy}")
                    # Stored members have their bytes in the file, so none can be larger than the file.
                    if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
                        raise FreelightError(f"{path}: {name} is compressed, or longer than the file; {remedy}")
                    with archive.open(member) as stored:
                        arrays[name] = _read_array(stored, member.file_size, array, lengths, f"{path}: {name}", remedy)
        except FreelightError:
            raise
        except Exception as error:  # zipfile raises errors of any type for damaged archives
            raise FreelightError(f"{path} cannot be read ({error}); {remedy}") from None
    return arrays


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int  # of the values in the file
    rest: bytes  # first values, read together with the header


def _read_array(
    file: IO[bytes], size: int, expected: Array, lengths: dict[str, int], where: str, remedy: str
) -> npt.NDArray[Any]:
    """Return the array in `file`, which has `size` bytes."""
    header = _read_header(file, size, expected, lengths, where, remedy)
    try:
        data = bytearray(size - header.offset)  # unlike bytes, it gives arrays that can be written
    except MemoryError:
        raise FreelightError(f"{where} has {size} bytes, which do not fit into memory; {remedy}") from None
    view, done = memoryview(data), len(header.rest)
    view[:done] = header.rest
    while done < len(data):  # without a seek, after which zipfile does not check the crc
        read = file.readinto(view[done : done + _CHUNK])  # type: ignore[attr-defined]
        if not read:
            raise FreelightError(f"{where} is cut short; {remedy}")
        done += read
    array: npt.NDArray[Any] = np.ndarray(header.shape, header.dtype, data, order="F" if header.fortran else "C")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FreelightError(f"{where} has values that are not finite (NaN or infinity); {remedy}")
    if array.dtype.kind == "U" and np.frombuffer(data, np.uint32).max(initial=0) > sys.maxunicode:
        raise FreelightError(f"{where} is not text; {remedy}")
    return array


def _read_header(
    file: IO[bytes], size: int, expected: Array, lengths: dict[str, int], where: str, remedy: str
) -> _Header:
    """Return the header, checked against what is expected and against the file's size.

    lengths: the named lengths that are known; those of this array are added.
    """

    def refuse(fault: str) -> NoReturn:
        raise FreelightError(f"{where} {fault}; {remedy}")

    head = file.read(_MAX_HEADER)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(head[:8])
    if width is None:
        refuse("is not an array of numpy.save")
    offset = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    found = _HEADER.fullmatch(head[8 + width : offset].decode("latin-1"))
    if offset > len(head) or found is None:
        refuse("has a damaged header")
    wanted = np.dtype(expected.dtype)
    text_size = re.fullmatch(r"'<U([0-9]{1,9})'", found[1]) if wanted == np.dtype(np.str_) else None
    dtype = np.dtype(f"<U{text_size[1]}") if text_size else wanted
    if found[1] != repr(np.lib.format.dtype_to_descr(dtype)):
        refuse(f"holds {found[1][:80]}, not {wanted.name if wanted.names is None else wanted.descr}")
    lengths_found = found[3].replace(",", " ").split()
    if any(len(length) > 18 for length in lengths_found):
        refuse(f"declares a length of {len(max(lengths_found, key=len))} digits")
    shape = tuple(int(length) for length in lengths_found)
    known = dict(lengths)
    matches = len(shape) == len(expected.shape)
    for length, want in zip(shape, expected.shape, strict=False):
        matches &= length == (lengths.setdefault(want, length) if isinstance(want, str) else want)
    if not matches:
        named = ", ".join(f"{want} (={known[want]})" if want in known else str(want) for want in expected.shape)
        refuse(f"has the shape {shape}, not ({named})")
    if offset + math.prod(shape) * dtype.itemsize != size:
        refuse(f"does not have the bytes that its shape {shape} needs")
    return _Header(dtype, shape, found[2] == "True", offset, head[offset:])
