"""The tables of numeric fields: those of one tar while a dataset is made, then joined to those of a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import Array, FreelightError, atomic_write, read_arrays
from ..dataset import BOX, BOXES, NUMBERS, FieldInfo, offsets_name, values_name
from .fields import FieldPlace
from .samples import Sample

_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True)
class TarField:
    """A field in one tar. rows: of all samples. dtype, shape: of a row, "" and () without rows. key: of the first
    sample with rows.
    """

    rows: int = 0
    dtype: str = ""
    shape: tuple[int, ...] = ()
    key: str = ""


class FieldCollector:
    """Collects the fields of a tar's samples."""

    def __init__(self, places: Sequence[FieldPlace]) -> None:
        self._places = places
        self._arrays: dict[str, list[npt.NDArray[Any]]] = {place.name: [] for place in places}
        self._first: dict[str, tuple[str, npt.NDArray[Any]]] = {}

    def add(self, sample: Sample) -> str:
        """Add the arrays of a sample. Returns why not, if their rows are not like those before in the tar, else ""."""
        for place in self._places:
            array = sample.fields.get(place.name, _NO_ROWS)
            if len(array) and place.name in self._first:
                key, first = self._first[place.name]
                if array.shape[1:] != first.shape[1:] or (not place.path and array.dtype != first.dtype):
                    return (
                        f"{place.source} has {_describe(array.dtype.str, array.shape[1:])}, but {key} has "
                        f"{_describe(first.dtype.str, first.shape[1:])}"
                    )
        for place in self._places:
            array = sample.fields.get(place.name, _NO_ROWS)
            self._arrays[place.name].append(array)
            if len(array):
                self._first.setdefault(place.name, (sample.key, array))
        return ""

    def save(self, path: Path) -> dict[str, TarField]:
        """Write the arrays and return what they are."""
        found: dict[str, TarField] = {}
        tables: dict[str, Any] = {}
        for name, arrays in self._arrays.items():
            tables[f"{name}.counts"] = np.array([len(array) for array in arrays], "<u4")
            found[name] = TarField()
            if name in self._first:
                values = np.concatenate([array for array in arrays if len(array)])
                tables[f"{name}.values"] = values
                found[name] = TarField(len(values), values.dtype.str, values.shape[1:], self._first[name][0])
        with atomic_write(path, sync_folder=False) as file:
            np.savez(file, **tables)
        return found


@dataclass(frozen=True)
class TarTables:
    """The fields of one tar, and where they are. name: of the tar. samples: their number."""

    name: str
    path: Path
    samples: int
    fields: dict[str, TarField]


def join_field(out: Path, split: str, place: FieldPlace, tars: Sequence[TarTables]) -> tuple[FieldInfo, list[str]]:
    """Write the tables of a split's field, from those of its tars. Returns what it is, and the files' names.

    Raises `FreelightError` if the tars have rows of different shapes or dtypes.
    """
    dtype, shape = _common(place, tars)
    values = np.empty((sum(tar.fields[place.name].rows for tar in tars), *shape), dtype)
    counts = []
    first = 0
    for tar in tars:
        known = tar.fields[place.name]
        expected = {f"{place.name}.counts": Array("<u4", (tar.samples,))}
        if known.rows:
            expected[f"{place.name}.values"] = Array(known.dtype, (known.rows, *known.shape))
        found = read_arrays(tar.path, expected, remedy=f"delete {out} and start again")
        counts.append(found[f"{place.name}.counts"])
        if known.rows:
            values[first : first + known.rows] = found[f"{place.name}.values"]
        first += known.rows
    offsets = np.zeros(sum(map(len, counts)) + 1, "<u8")
    np.cumsum(np.concatenate(counts), out=offsets[1:])
    tables = {values_name(split, place.name): values, offsets_name(split, place.name): offsets}
    for name, table in tables.items():
        with atomic_write(out / name) as file:
            np.save(file, table)
    return FieldInfo(BOXES if place.is_boxes else NUMBERS, values.dtype.str, shape, len(values)), list(tables)


def _common(place: FieldPlace, tars: Sequence[TarTables]) -> tuple[str, tuple[int, ...]]:
    """Return dtype and shape of a field's rows in all tars."""
    kept = [(tar.name, tar.fields[place.name]) for tar in tars if tar.fields[place.name].rows]
    if not kept:
        return BOX if place.is_boxes else ("<f8", ())
    first_name, first = kept[0]
    for name, known in kept:
        if known.shape != first.shape or (not place.path and known.dtype != first.dtype):
            raise FreelightError(
                f"the field {place.name!r} has {_describe(known.dtype, known.shape)} in {name} ({known.key}), but "
                f"{_describe(first.dtype, first.shape)} in {first_name} ({first.key}); correct the tars"
            )
    return np.result_type(*(known.dtype for _, known in kept)).str, first.shape


def _describe(dtype: str, shape: tuple[int, ...]) -> str:
    return f"rows of {np.dtype(dtype).name} {shape}" if shape else f"numbers of {np.dtype(dtype).name}"
