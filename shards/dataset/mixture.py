"""Several datasets as one, with the classes of all, mixed by ratio if so asked."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base import FreelightError
from ..sources import ClassInfo
from .directory import Dataset
from .joined import JoinedSplit, joined_info
from .manifest import Manifest
from .split import Split

Part = Dataset | str | os.PathLike[str]


class Mixture(Dataset):
    """Several datasets as one, for a `Loader`. Nothing is written.

    parts: datasets, or their paths; an epoch then has every sample of all once. Or pairs (dataset, ratio): an epoch has
    samples of each in exactly these ratios, whatever their sizes.

        Mixture("imagenet", "own")
        Mixture(("imagenet", 0.8), ("own", 0.2))

    classes: the mixture's class, by the id of each class of the parts. They are numbered in the order in which they
    appear: those of the first part, then those that the second adds, and so on. By default a class is its own id, so
    the mixture has the union.

    Its splits are those that all parts have; a sample's index counts through the parts. It has no statistics: give the
    loader those of one part. ratios: None, or one of each part.
    """

    def __init__(self, *parts: Part | tuple[Part, float], classes: Mapping[str, str] | None = None) -> None:
        pairs: list[Any] = [part if isinstance(part, tuple | list) else (part, None) for part in parts]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise FreelightError("mixture: give datasets, or pairs (dataset, ratio)")
        given = [ratio for _, ratio in pairs if ratio is not None]
        if len(given) not in (0, len(pairs)):
            raise FreelightError("mixture: give each dataset a ratio, or none")
        for ratio in given:
            if not isinstance(ratio, int | float) or not 0 < ratio < float("inf"):
                raise FreelightError(f"mixture: a ratio (={ratio!r}) must be a positive, finite number")
        self.parts = [part if isinstance(part, Dataset) else Dataset(part) for part, _ in pairs]
        self.ratios = [float(ratio) for ratio in given] or None
        self.place = " + ".join(part.place for part in self.parts)
        self.folder = self.parts[0].folder
        self.cache = self.storage_options = self._whole = None
        numbers: dict[str, int] = {}
        infos: list[ClassInfo] = []
        self._labels = []
        for part in self.parts:
            labels = []
            for own in part.manifest.classes:
                if classes is not None and own.id not in classes:
                    raise FreelightError(f"mixture: `classes` has nothing for the class {own.id!r} of {part.place}")
                info = own if classes is None else ClassInfo(classes[own.id], classes[own.id])
                labels.append(numbers.setdefault(info.id, len(numbers)))
                if len(numbers) > len(infos):
                    infos.append(info)
            self._labels.append(np.array([*labels, -1], "<i4"))  # the last is that of the label -1
        manifests = [part.manifest for part in self.parts]
        shared = [name for name in manifests[0].splits if all(name in manifest.splits for manifest in manifests)]
        sides = {part.image_size for part in self.parts}
        self.manifest = Manifest(
            classes=tuple(infos),
            label_order="mixture",
            image_size=sides.pop() if len(sides) == 1 else None,
            made_with={},
            source={},
            splits={
                name: joined_info(name, [manifest.splits[name] for manifest in manifests], self._labels)
                for name in shared
            },
            files={},
        )

    @property
    def fingerprint(self) -> str:
        """A hash of the parts' fingerprints, and of the class of each of their classes. Ratios are no part of it."""
        facts = [[part.fingerprint, labels.tolist()] for part, labels in zip(self.parts, self._labels, strict=True)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def split(self, name: str) -> Split:
        """Open the split `name` of all parts. Raises `FreelightError` if one has no such split."""
        return JoinedSplit(name, [part.split(name) for part in self.parts], self._labels)
