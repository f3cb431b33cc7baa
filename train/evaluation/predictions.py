"""The predictions file: networks' class probabilities for a split, so that later averages need no second pass."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import Dataset, FreelightError
from ...shards.base import Array, atomic_write, read_arrays

REMEDY = "write it again with: freelight evaluate --predictions"
ARRAYS = {
    "names": Array(np.str_, ("networks",)),
    "probabilities": Array(np.float32, ("networks", "samples", "classes")),
    "labels": Array(np.int64, ("samples",)),
    "seconds": Array(np.float64, ("networks",)),
    "reordered": Array(np.bool_, ("networks",)),
    "fingerprint": Array(np.str_, ()),
    "split": Array(np.str_, ()),
    "views": Array(np.int64, ()),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Class probabilities of several networks for a split; samples and classes are in the dataset's order.

    The file is an uncompressed `.npz` whose arrays are these fields. names: of the networks. probabilities: float32
    (networks, samples, classes). labels: int64 (samples,), -1 where unknown. seconds: float64 (networks,), duration of
    each pass. reordered: bool (networks,), whether the network was trained with the classes in another order.
    fingerprint, split: of the dataset. views: 1 or 10.
    """

    names: npt.NDArray[np.str_]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    reordered: npt.NDArray[np.bool_]
    fingerprint: str
    split: str
    views: int

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        with atomic_write(path) as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read a file that `save` wrote. Raises `FreelightError` for any other file, and for damaged values."""
        try:
            content: dict[str, Any] = read_arrays(path, ARRAYS, remedy=REMEDY)
        except FileNotFoundError:
            raise FreelightError(f"there is no file {path}; write it with: freelight evaluate --predictions") from None
        for name in ("fingerprint", "split", "views"):
            content[name] = content[name].item()
        found = cls(**content)
        found._check(path)
        return found

    def _check(self, path: Path) -> None:
        """Raise `FreelightError` unless the values are probabilities, labels and durations."""
        networks, samples, classes = self.probabilities.shape
        sums = self.probabilities.sum(axis=2, dtype=np.float32)
        for holds, fault in (
            (networks and samples and classes, f"probabilities has the shape {self.probabilities.shape}"),
            (self.probabilities.min(initial=0) >= 0, "probabilities must not be negative"),
            (np.allclose(sums, 1, atol=0.01), "the probabilities of a sample must have the sum 1"),
            (((self.labels >= -1) & (self.labels < classes)).all(), f"labels must lie in -1..{classes - 1}"),
            ((self.seconds > 0).all(), "seconds must be positive"),
            (self.views in (1, 10), f"views (={self.views}) must be 1 or 10"),
        ):
            if not holds:
                raise FreelightError(f"{path}: {fault}; {REMEDY}")

    def check_source(self, dataset: Dataset, split: str, views: int, path: Path) -> None:
        """Raise `FreelightError`, naming the file `path`, if these come from another dataset, split or views."""
        for name, own, wanted in (
            ("dataset", self.fingerprint[:12], dataset.fingerprint[:12]),
            ("split", self.split, split),
            ("views", self.views, views),
        ):
            if own != wanted:
                raise FreelightError(
                    f"{path} is for another {name}: {own!r}, not {wanted!r}; "
                    "write one with: freelight evaluate --predictions"
                )
        labels = dataset.split(split).samples["label"]
        if self.probabilities.shape[2] != len(dataset.manifest.classes) or not np.array_equal(self.labels, labels):
            raise FreelightError(f"{path} has other classes or labels than {dataset.place}; {REMEDY}")


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate the networks of several predictions of one split."""
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("names", "probabilities", "seconds", "reordered")
    }
    return dataclasses.replace(parts[0], **joined)
