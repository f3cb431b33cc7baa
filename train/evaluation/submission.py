"""The ILSVRC challenge's file of answers: for each picture, in order of their names, its five most probable classes.

Classes are written as the development kit numbers them.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...shards import Dataset, FreelightError, Split
from ...shards.base.atomic import atomic_write
from ...shards.layouts.devkit import DEVKITS, read_devkit


def class_numbers(dataset: Dataset, split: Split, devkit: Path | None) -> npt.NDArray[np.int64]:
    """Return the devkit's number of each label (classes,), from 1.

    devkit: the challenge's `.tar.gz`; not needed where the dataset's labels are in its order already. Raises
    `FreelightError` where it is, or where it lacks a class, or the split a picture.
    """
    _require_whole(split, dataset.manifest.made_with["limit"])
    ids = [info.id for info in dataset.manifest.classes]
    if devkit is None:
        if dataset.manifest.label_order != "ilsvrc":
            raise FreelightError(
                f"the labels of {dataset.folder} are in order of wnid, the challenge's file has the devkit's numbers; "
                f"name its archive with --devkit {DEVKITS[2012]}"
            )
        return np.arange(1, len(ids) + 1)
    year = next((year for year, name in DEVKITS.items() if devkit.name == name), 2012)
    if not devkit.is_file():
        raise FreelightError(f"--devkit {devkit} is no file; name the challenge's {DEVKITS[year]}")
    number = {class_id: place for place, class_id in enumerate(read_devkit(devkit, year).order, 1)}
    if missing := [class_id for class_id in ids if class_id not in number]:
        raise FreelightError(f"--devkit {devkit} has no class {missing[0]!r}, which {dataset.folder} has")
    return np.array([number[class_id] for class_id in ids])


def write_submission(
    path: Path, probabilities: npt.NDArray[np.float32], split: Split, numbers: npt.NDArray[np.int64]
) -> None:
    """Write five numbers a line, the most probable first, a line a sample of `split`, in order of its sources' names.

    Samples were shuffled when written; the challenge counts its pictures by name.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    order = sorted(range(len(split)), key=split.sources.__getitem__)
    lines = (" ".join(map(str, numbers[best[sample]].tolist())) for sample in order)
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def _require_whole(split: Split, limit: int | None) -> None:
    """Raise `FreelightError` when pictures of the challenge are lacking: the lines after theirs would be shifted."""
    lacking = f"{split.info.rejected} were rejected; rejected.jsonl says why" if split.info.rejected else ""
    if limit is not None:
        lacking = f"it was made with --limit {limit}"
    if lacking:
        raise FreelightError(
            f"{split.name} has not all pictures ({lacking}); the challenge's file has a line for each, so make it again"
        )
