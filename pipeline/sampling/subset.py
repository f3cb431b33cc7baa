"""Some samples of a split: given by index, class or file, or drawn."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError, Split
from ...shards.base import read_limited, whole_number
from ...shards.sources import ClassInfo
from ..seeds import seeds_of
from .plan import Samples

_INDEX = re.compile("0|[1-9][0-9]{0,17}")
MOST_BYTES = 1 << 30
"""Limit of a file of keys or indices."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subset:
    """Some samples of a split. With several arguments, those that all of them leave; the share is drawn last.

        Subset(classes=["n01440764", "kit fox"])
        Subset(fraction=0.1)

    indices: of samples, each at most once. classes: ids or names of classes. file: a text file with a sample a line:
    indices, if all lines are whole numbers without leading zeros, else WebDataset keys. fraction: share of each class
    that is drawn, above 0 and at most 1, rounded, at least one sample; with the same seed, a larger share has all of a
    smaller one. seed: of that draw alone, so that runs with other seeds can train on the same samples.
    """

    indices: Sequence[int] | npt.NDArray[np.integer] | None = None
    classes: Sequence[str] | None = None
    file: str | os.PathLike[str] | None = None
    fraction: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if all(value is None for value in (self.indices, self.classes, self.file, self.fraction)):
            raise FreelightError("subset: give `indices`, `classes`, `file` or `fraction`")
        if isinstance(self.classes, str):
            raise FreelightError(f"subset: `classes` (={self.classes!r}) must be a list of ids or names")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise FreelightError(f"subset: `fraction` (={self.fraction}) must be above 0 and at most 1")
        whole_number("seed", self.seed)

    def samples(self, split: Split, classes: Sequence[ClassInfo]) -> Samples:
        """Return the indices in the split, ascending. classes: of the dataset.

        Raises `FreelightError` for a class, key or index that the split does not have, for one that comes twice, and if
        nothing is left.
        """
        labels = split.samples["label"]
        is_in = np.ones(len(split), bool)
        if self.indices is not None:
            is_in &= _mask(np.asarray(self.indices), len(split), "subset: `indices`")
        if self.file is not None:
            is_in &= _mask(_read(Path(self.file), split), len(split), str(self.file))
        if self.classes is not None:
            is_in &= np.isin(labels, class_numbers(self.classes, classes))
        found = np.flatnonzero(is_in).astype(np.int32)
        if self.fraction is not None:
            found = np.sort(found[self._drawn(labels[found], found, len(split))])
        if not len(found):
            raise FreelightError(f"subset: no sample of {split.name} is left")
        return found

    def _drawn(self, labels: npt.NDArray[Any], found: Samples, samples: int) -> npt.NDArray[np.intp]:
        """Return the places of `found` that are drawn: in each class the first ones of a permutation of the split."""
        assert self.fraction is not None
        ranks = np.random.Generator(np.random.Philox(seeds_of("subset", self.seed))).permutation(samples)
        by_class = np.lexsort((ranks[found], labels))
        _, firsts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
        kept = np.maximum(1, np.floor(self.fraction * counts + 0.5)).astype(np.int64)
        drawn: npt.NDArray[np.intp] = by_class[np.arange(len(found)) - firsts.repeat(counts) < kept.repeat(counts)]
        return drawn


def class_numbers(names: Iterable[str], classes: Sequence[ClassInfo]) -> list[int]:
    """Return the label of the class with each id or name. Raises `FreelightError` unless each is one class."""
    by_id = {info.id: number for number, info in enumerate(classes)}
    by_name: dict[str, list[int]] = {}
    for number, info in enumerate(classes):
        by_name.setdefault(info.name, []).append(number)
    numbers: dict[int, str] = {}
    for name in names:
        found = [by_id[name]] if name in by_id else by_name.get(name, [])
        if not found:
            raise FreelightError(f"no class has the id or name {name!r}; one is {classes[0].id!r} ({classes[0].name})")
        if len(found) > 1:
            ids = ", ".join(classes[number].id for number in found)
            raise FreelightError(f"{len(found)} classes have the name {name!r}; give an id: {ids}")
        if found[0] in numbers:
            raise FreelightError(f"the class {name!r} comes twice, also as {numbers[found[0]]!r}")
        numbers[found[0]] = name
    return list(numbers)


def _mask(indices: npt.NDArray[Any], samples: int, where: str) -> npt.NDArray[np.bool_]:
    """Return which of so many samples are in `indices`. where: for messages.

    Raises `FreelightError` unless each is a sample, and comes once.
    """
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise FreelightError(f"{where} must be whole numbers, one a sample")
    outside = (indices < 0) | (indices >= samples)
    if outside.any():
        raise FreelightError(f"{where}: {indices[outside][0]} must lie in 0..{samples - 1}")
    times = np.bincount(indices.astype(np.int64), minlength=samples)
    if times.max(initial=0) > 1:
        raise FreelightError(f"{where}: {times.argmax()} comes twice; `weights` can take a sample several times")
    return times > 0


def _read(path: Path, split: Split) -> npt.NDArray[Any]:
    """Return the indices in a file of indices or keys."""
    try:
        data = read_limited(path, remedy="give a file with a sample a line", limit=MOST_BYTES)
    except FileNotFoundError:
        raise FreelightError(f"subset: there is no file {path}") from None
    lines = data.decode(errors="surrogateescape").replace("\r\n", "\n").removesuffix("\n").split("\n")
    if all(map(_INDEX.fullmatch, lines)):
        return np.array(lines, np.int64)
    for key, times in Counter(lines).items():
        if times > 1:
            raise FreelightError(f"{path}: the key {key!r} comes twice")
    found: dict[str, list[int]] = {key: [] for key in lines}
    for index, key in enumerate(split.keys()):
        if key in found:
            found[key].append(index)
    for key, indices in found.items():
        if not indices:
            raise FreelightError(f"{path}: no sample of {split.name} has the key {key!r}")
        if len(indices) > 1:
            raise FreelightError(f"{path}: {len(indices)} samples have the key {key!r}; give their indices")
    return np.array([indices[0] for indices in found.values()])
