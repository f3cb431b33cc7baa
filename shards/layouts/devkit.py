"""The challenge's development kit: which class has which number, and the ground truth of the validation pictures."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import FreelightError

DEVKITS = {2012: "ILSVRC2012_devkit_t12.tar.gz", 2010: "ILSVRC2010_devkit-1.0.tar.gz"}


@dataclass(frozen=True)
class Devkit:
    """Class ids by number (`order[0]` is number 1), their names, and the numbers of the val pictures in order."""

    order: tuple[str, ...]
    names: dict[str, str]
    validation: tuple[int, ...]

    def class_ids(self, numbers: tuple[int, ...], where: object) -> list[str]:
        """Return the class ids of these numbers."""
        if wrong := [number for number in numbers if not 1 <= number <= len(self.order)]:
            raise FreelightError(f"{where} holds {wrong[0]}, but the devkit's classes are 1 to {len(self.order)}")
        return [self.order[number - 1] for number in numbers]


def read_devkit(path: Path, year: int) -> Devkit:
    """Read `meta.mat` and the ground truth out of the devkit's tar.gz, without unpacking it."""
    from scipy.io import loadmat  # takes 0.1 s to import, which a command's --help can save

    truth_name = f"ILSVRC{year}_validation_ground_truth.txt"
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and name in ("meta.mat", truth_name) and "/data/" in f"/{member.name}":
                    contents[name] = file.read()
        table = loadmat(io.BytesIO(contents["meta.mat"]), squeeze_me=True)["synsets"]
        order, names = _leaves(table, f"ILSVRC{year}_ID")
        return Devkit(order, names, read_numbers(contents[truth_name].decode(), path))
    except KeyError as error:
        raise FreelightError(f"{path} lacks {error}; fetch the devkit again") from None
    except (tarfile.TarError, EOFError, TypeError, ValueError) as error:
        if isinstance(error, FreelightError):
            raise
        raise FreelightError(f"{path} cannot be read ({error}); fetch the devkit again") from None


def read_numbers(text: str, where: object) -> tuple[int, ...]:
    """Read one class number a line."""
    try:
        return tuple(int(line) for line in text.split())
    except ValueError as error:
        raise FreelightError(f"{where}: the ground truth is not one class number a line ({error})") from None


def _leaves(table: Any, number_field: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the wnids in order of their numbers, and their names. Inner nodes of WordNet have later numbers."""
    if number_field not in (table.dtype.names or ()):
        raise KeyError(number_field)
    leaves = sorted(
        (int(row[number_field]), str(row["WNID"]).strip(), str(row["words"]).strip())
        for row in table
        if int(row["num_children"]) == 0
    )
    if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
        raise ValueError("the classes without children are not numbered 1, 2, 3 and so on")
    return tuple(wnid for _, wnid, _ in leaves), {wnid: words for _, wnid, words in leaves}
