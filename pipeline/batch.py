"""What the loader returns for each step: a named tuple of tensors on the loader's device."""

import copy
import functools
from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..shards import FreelightError
from .choices import Choices
from .fields import FieldReader
from .mix import Mix
from .reading import SampleReader, Share
from .transfer import to_device
from .transform import Transform
from .views import Views, parts_of

EXTRAS = ("samples", "metadata", "fields")
"""What a batch can hold besides images and labels, in this order."""


class Batch(NamedTuple):
    """images: of the transform's dtype, (n, 3, size, size) or (n, 10, 3, size, size); of `Views` a tuple of such
    tensors. labels: int64 (n,).

    With a loader's `mix`, labels are float32 (n, classes), or `Pairs`.

    With a loader's `extras`, further fields follow. samples: int64 (n,), the indices of these samples in the split.
    metadata: a list of n, the content of each sample's `.json`, None if it has none; not on the device. fields: a list
    of n, each sample's numeric fields, a dict of tensors (rows, ...) by name, as detectors take targets. Boxes are
    float32 (rows, 4), x1, y1, x2, y2 in pixels of the crop after its flip, clipped to it. One outside the crop keeps
    its row, and has no area: x1 = x2 or y1 = y2.
    """

    images: Any
    labels: torch.Tensor


def check_extras(extras: Sequence[str]) -> tuple[str, ...]:
    """Return `extras` in the order of a batch's fields. Raises `FreelightError` for an unknown one."""
    if not isinstance(extras, tuple | list) or any(name not in EXTRAS for name in extras):
        raise FreelightError(f"`extras` {extras!r} is not a tuple of names from: {', '.join(EXTRAS)}")
    return tuple(name for name in EXTRAS if name in extras)


class BatchMaker:
    """Make the batches of what `reader` reads: images, labels and `extras`, tensors on `device`.

    transforms: those of all epochs. mix: makes the labels soft; classes: their number. Raises `FreelightError` if
    `extras` has "metadata" or "fields" and the split has none, if boxes cannot follow a transform or `mix`, or if a
    sample has no label for `mix`.
    """

    def __init__(
        self,
        reader: SampleReader,
        extras: tuple[str, ...],
        device: torch.device,
        transforms: Iterable[Transform | Views],
        *,
        mix: Mix | None,
        classes: int,
    ) -> None:
        split = reader.split
        self._samples_of = reader.samples_of
        self._extras = extras
        self._device = device
        self._mix = mix
        self._classes = classes
        self._labels = split.samples["label"]
        if mix is not None and self._labels.min() < 0:
            raise FreelightError(f"`mix` needs labels, and not all of {split.name} in {split.folder} have one; omit it")
        # With files of its own: the reader thread closes those of `split` to open others.
        self._metadata = copy.copy(split) if "metadata" in extras else None
        if self._metadata is not None and self._metadata.metadata_table is None:
            raise FreelightError(
                f"{split.folder} has no metadata of {split.name} for `extras`; omit it there, or make the dataset "
                "with: freelight make-shards --images IMAGES --out DATASET --metadata"
            )
        self._fields = FieldReader(split) if "fields" in extras else None
        if self._fields is not None:
            self._fields.check(transforms, mix)

    def make(
        self,
        images: Any,
        occurrences: Share,
        transform: Transform | Views,
        choices: Sequence[Choices],
        partners: Share | None = None,
        weight: float = 1.0,
    ) -> Any:
        """Return the batch of these occurrences of samples, whose images `transform` made. choices: of its parts.

        partners: with `mix`, the occurrence that each image was mixed with. weight: of the image itself.
        """
        samples = self._samples_of(occurrences)
        labels: Any = self._to_device(self._labels[samples].astype(np.int64))
        if self._mix is not None and partners is not None:
            others = self._to_device(self._labels[self._samples_of(partners)].astype(np.int64))
            labels = self._mix.mixed_labels(labels, others, weight, self._classes)
        values: list[Any] = [images, labels]
        if "samples" in self._extras:
            values.append(self._to_device(samples.astype(np.int64)))
        if self._metadata is not None:
            values.append([self._metadata.metadata(sample) for sample in samples.tolist()])
        if self._fields is not None:
            crop = parts_of(transform)[0][0].crop
            chosen = choices[0].only((*crop.feeds(), "flip")).take(occurrences)
            values.append(self._fields.read(samples, crop, chosen, self._to_device))
        return make_batch(self._extras, values)

    def close(self) -> None:
        """Close the files of the metadata; a later batch opens them again."""
        if self._metadata is not None:
            self._metadata.close()

    def _to_device(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return to_device(values, self._device)


def make_batch(extras: tuple[str, ...], values: Sequence[Any]) -> Any:
    """Return a batch with the further fields `extras`; `Batch` without any."""
    return _batch_type(extras)._make(values)


@functools.cache
def _batch_type(extras: tuple[str, ...]) -> Any:
    if not extras:
        return Batch
    fields = namedtuple("Batch", (*Batch._fields, *extras))  # type: ignore[misc]
    # Pickle looks a class up by its name, which all of these share.
    methods = {"__slots__": (), "__reduce__": lambda self: (make_batch, (extras, tuple(self)))}
    return type("Batch", (fields,), methods)
