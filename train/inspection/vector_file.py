"""The file of a split's feature vectors, written in any order, and complete or not there.

`<split>.<space>.npy` exists only when it is complete. Until then the rows are in `<split>.<space>.npy.partial`, and
`<split>.<space>.json` holds which are done, the dataset and the network. So a stopped extraction resumes, and the
vectors of another network or dataset are refused.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from ...shards.base import (
    Array,
    atomic_write,
    integer,
    items,
    list_of,
    map_array,
    naming_file,
    read_json,
    record,
    text,
)
from ..evaluation.rounds import join_runs

Vectors = npt.NDArray[np.float32]

REMEDY = "delete it and extract the features again"
BATCHES = 16
"""Batches between two notes of the progress."""


class VectorFile:
    """The file `path` of vectors, float32 of `shape` (samples, features), and the note of what is done.

    origin: what the vectors depend on. done: runs of samples whose rows are written. Raises `FreelightError` if the
    file has another origin or shape.
    """

    def __init__(self, path: Path, origin: dict[str, str], shape: tuple[int, int]) -> None:
        self.path = path
        self._origin = origin
        self._shape = shape
        self._partial = path.with_name(f"{path.name}.partial")
        self._rows: np.memmap[Any, np.dtype[np.float32]] | None = None
        self._batches = 0
        self.done = self._read_note()
        if self.done == [range(shape[0])] and not path.exists():  # stopped before it got its name
            os.replace(self._partial, path)

    def write(self, samples: range, vectors: Vectors) -> None:
        """Write the rows of these samples; note the progress from time to time."""
        if self._rows is None:
            self._rows = self._open()
        self._rows[samples.start : samples.stop] = vectors
        self.done = join_runs([*self.done, samples])
        self._batches += 1
        if self._batches % BATCHES == 0:
            self.note()

    def note(self) -> None:
        """Write down what is done."""
        if self._rows is not None:
            self._rows.flush()
            # Version 0.1 reads `done` alone: how many rows are done from the first one on.
            first, *others = self.done if self.done[0].start == 0 else [range(0), *self.done]
            note = {**self._origin, "done": first.stop, "further": [[run.start, run.stop] for run in others]}
            with atomic_write(self.path.with_suffix(".json")) as file:
                file.write(json.dumps(note).encode())

    def finish(self) -> None:
        """Give the complete file its name."""
        self.note()
        self._rows = None
        os.replace(self._partial, self.path)

    def vectors(self) -> Vectors:
        """Map the complete file."""
        return _map(self.path, self._shape)

    def _open(self) -> "np.memmap[Any, np.dtype[np.float32]]":
        if self._partial.is_symlink():  # it would lead to a file elsewhere
            raise FreelightError(f"{self._partial} is a symbolic link; {REMEDY}")
        if not self.done:
            return _new_rows(self._partial, self._shape)
        _reserve(self._partial)  # version 0.1 did not
        return np.lib.format.open_memmap(self._partial, mode="r+")

    def _read_note(self) -> list[range]:
        sample = integer(most=self._shape[0])
        fields = record(
            {**dict.fromkeys(self._origin, text()), "done": sample}, {"further": list_of(items(sample, sample))}
        )
        try:
            found = read_json(self.path.with_suffix(".json"), fields, remedy=REMEDY)
        except FileNotFoundError:
            self.path.unlink(missing_ok=True)  # vectors of unknown origin
            return []
        for name, value in self._origin.items():
            if found[name] != value:
                raise FreelightError(
                    f"{self.path} is for another {name}; give another folder as `features`, or delete this one"
                )
        if self.path.exists():
            return [range(self._shape[0])]
        if not self._partial.exists():
            return []
        _map(self._partial, self._shape)
        return join_runs([range(found["done"]), *(range(*run) for run in found.get("further", []))])


def open_features(path: Path) -> Vectors:
    """Map a complete file of vectors: float32 (samples, features). Raises `FreelightError` for any other file."""
    return _map(path, ("samples", "features"))


def _map(path: Path, shape: tuple[int | str, int | str]) -> Vectors:
    try:
        return map_array(path, Array(np.float32, shape), remedy=REMEDY)
    except FileNotFoundError:
        raise FreelightError(f"there is no file {path}; {REMEDY}") from None


def _new_rows(path: Path, shape: tuple[int, int]) -> "np.memmap[Any, np.dtype[np.float32]]":
    """Create and map a file of rows, with its space reserved. A full disk leaves no file."""
    try:
        with naming_file(path):
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        _reserve(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return rows


def _reserve(path: Path) -> None:
    """Reserve the disk space of all of a file: a write to a mapped page that gets none would kill the process."""
    with naming_file(path), open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
