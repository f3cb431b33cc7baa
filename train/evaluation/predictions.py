"""The predictions file: networks' class probabilities for a split, so that later averages need no second pass."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from ...shards import Dataset, FreelightError
from ...shards.base.atomic import atomic_write


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
        """Read a file that `save` wrote. Raises `FreelightError` for any other file."""
        try:
            with path.open("rb") as file, np.load(file) as archive:
                content: dict[str, Any] = {field.name: archive[field.name] for field in dataclasses.fields(cls)}
        except FileNotFoundError:
            raise FreelightError(f"there is no file {path}; write it with: evaluate --predictions") from None
        except (EOFError, TypeError, ValueError, KeyError, BadZipFile) as error:
            raise FreelightError(
                f"{path} is not a predictions file ({error}); write it again with: evaluate --predictions"
            ) from None
        for name in ("fingerprint", "split", "views"):
            content[name] = content[name].item()
        return cls(**content)

    def check_source(self, dataset: Dataset, split: str, views: int, path: Path) -> None:
        """Raise `FreelightError`, naming the file `path`, if these come from another dataset, split or views."""
        for name, own, wanted in (
            ("dataset", self.fingerprint[:12], dataset.fingerprint[:12]),
            ("split", self.split, split),
            ("views", self.views, views),
        ):
            if own != wanted:
                raise FreelightError(
                    f"{path} is for another {name}: {own}, not {wanted}; write one with: evaluate --predictions"
                )


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate the networks of several predictions of one split."""
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("names", "probabilities", "seconds", "reordered")
    }
    return dataclasses.replace(parts[0], **joined)
