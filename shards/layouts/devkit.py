"""The challenge's development kit: the classes' numbers and names, and the ground truth of the validation pictures."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import FreelightError

DEVKITS = {2012: "ILSVRC2012_devkit_t12.tar.gz", 2010: "ILSVRC2010_devkit-1.0.tar.gz"}


@dataclass(frozen=True)
class Devkit:
    """The contents of a devkit.

    order: class ids by number; `order[0]` has number 1. names: class names by id. validation: class number of each
    validation picture, in order.
    """

    order: tuple[str, ...]
    names: dict[str, str]
    validation: tuple[int, ...]

    def class_ids(self, numbers: tuple[int, ...], where: object) -> list[str]:
        """Return the class ids of class numbers. Raises `FreelightError`, naming `where`, for a number out of range."""
        if wrong := [number for number in numbers if not 1 <= number <= len(self.order)]:
            raise FreelightError(f"{where} holds {wrong[0]}, but the devkit's classes are 1 to {len(self.order)}")
        return [self.order[number - 1] for number in numbers]


def read_devkit(path: Path, year: int) -> Devkit:
    """Read `meta.mat` and the ground truth from the devkit's tar.gz, without unpacking it."""
    import scipy.io  # here, because it takes longer to import than the rest of the package

    truth_name = f"ILSVRC{year}_validation_ground_truth.txt"
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and name in ("meta.mat", truth_name) and "/data/" in f"/{member.name}":
                    contents[name] = file.read()
        table = scipy.io.loadmat(io.BytesIO(contents["meta.mat"]), squeeze_me=True)["synsets"]
        order, names = _leaves(table, f"ILSVRC{year}_ID")
        return Devkit(order, names, read_numbers(contents[truth_name].decode(), path))
    except KeyError as error:
        raise FreelightError(f"{path} lacks {error}; fetch the devkit again") from None
    except (tarfile.TarError, EOFError, TypeError, ValueError) as error:
        if isinstance(error, FreelightError):
            raise
        raise FreelightError(f"{path} cannot be read ({error}); fetch the devkit again") from None


def read_numbers(text: str, where: object) -> tuple[int, ...]:
    """Read class numbers, one per line."""
    try:
        return tuple(int(line) for line in text.split())
    except ValueError as error:
        raise FreelightError(f"{where}: the ground truth does not have one class number per line ({error})") from None


def _leaves(table: Any, number_field: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the wnids of the classes in order of their numbers, and their names.

    The table also holds inner nodes of WordNet, which have higher numbers and children.
    """
    if number_field not in (table.dtype.names or ()):
        raise KeyError(number_field)
    leaves = sorted(
        (int(row[number_field]), str(row["WNID"]).strip(), str(row["words"]).strip())
        for row in table
        if int(row["num_children"]) == 0
    )
    if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
        raise ValueError("the classes without children are not numbered 1, 2, 3, ...")
    return tuple(wnid for _, wnid, _ in leaves), {wnid: words for _, wnid, words in leaves}
