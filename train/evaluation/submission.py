"""The ILSVRC challenge's submission file: for each image, in order of file name, its five most probable classes.

Classes are written as the numbers of the development kit, from 1.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...shards import Dataset, FreelightError, Split
from ...shards.base import atomic_write
from ...shards.layouts import DEVKITS, read_devkit


def class_numbers(dataset: Dataset, split: Split, devkit: Path | None) -> npt.NDArray[np.int64]:
    """Return the development kit's number of each label: int64 (classes,), from 1.

    devkit: the challenge's `.tar.gz`; not needed if the dataset's labels are already in its order. Raises
    `FreelightError` if it is needed, if it lacks a class, or if the split lacks an image.
    """
    _require_complete(split, dataset.manifest.made_with["limit"])
    ids = [info.id for info in dataset.manifest.classes]
    if devkit is None:
        if dataset.manifest.label_order != "ilsvrc":
            raise FreelightError(
                f"the labels of {dataset.place} are in wnid order, but a submission needs the devkit's numbers; "
                f"give its archive, {DEVKITS[2012]}, as `devkit`"
            )
        return np.arange(1, len(ids) + 1)
    year = next((year for year, name in DEVKITS.items() if devkit.name == name), 2012)
    if not devkit.is_file():
        raise FreelightError(f"`devkit` (={devkit}) is not a file; give the challenge's {DEVKITS[year]}")
    number = {class_id: place for place, class_id in enumerate(read_devkit(devkit, year).order, 1)}
    if missing := [class_id for class_id in ids if class_id not in number]:
        raise FreelightError(
            f"`devkit` (={devkit}) lacks the class {missing[0]!r} of {dataset.place}; give the same challenge's"
        )
    return np.array([number[class_id] for class_id in ids])


def write_submission(
    path: Path, probabilities: npt.NDArray[np.float32], split: Split, numbers: npt.NDArray[np.int64]
) -> None:
    """Write one line per image: five class numbers, the most probable first; lines in order of the source's name.

    The dataset holds the samples shuffled; the challenge numbers its images by name.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    order = sorted(range(len(split)), key=split.sources.__getitem__)
    lines = (" ".join(map(str, numbers[best[sample]].tolist())) for sample in order)
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def _require_complete(split: Split, limit: int | None) -> None:
    """Raise `FreelightError` if images of the challenge are missing: every line after theirs would be shifted."""
    reason = f"{split.info.rejected} were rejected, see rejected.jsonl" if split.info.rejected else ""
    if limit is not None:
        reason = f"made with make_shards --limit {limit}"
    if reason:
        raise FreelightError(
            f"{split.name} lacks images ({reason}); a submission has one line for each image, so make the dataset again"
        )
