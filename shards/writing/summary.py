"""Summarize a dataset, or the source of a dry run, in a few lines of text."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dataset import REJECTED, SUSPECT, Manifest
from ..sources import OrderedSource, Source
from .dealing import deal_shards
from .settings import ShardSettings


def count_per_class(labels: npt.NDArray[Any], classes: int) -> dict[str, float] | None:
    """Return the min, max and mean number of samples of a class; None if samples have no labels (-1)."""
    if (labels < 0).any():
        return None
    counts = np.bincount(labels, minlength=classes)
    return {"min": int(counts.min()), "max": int(counts.max()), "mean": round(float(counts.mean()), 1)}


def summarize_dataset(manifest: Manifest, out: object) -> Iterator[str]:
    """Yield a line for each split of the dataset at `out`, one for the rejects, and one for the whole dataset."""
    for name, split in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in split.shards) / 1e6
        kinds = ", ".join(f"{count} {kind}" for kind, count in split.kinds.items() if kind != "colour")
        yield (
            f"{name}: {split.samples} samples of {len(manifest.classes)} classes in {len(split.shards)} shards, "
            f"{megabytes:.1f} MB, {split.rejected} rejected; {_describe_counts(split.per_class)}"
            + (f"; {kinds} in the source" if kinds else "")
        )
    yield from _warn_and_note(len(manifest.classes), manifest.source.get("notes", ()))
    if any(split.rejected for split in manifest.splits.values()):
        yield f"rejected images and the reasons: {out}/{REJECTED}"
    if suspect := manifest.source.get("suspect"):
        counts = ", ".join(f"{count} in {name}" for name, count in suspect.items())
        yield f"suspect JPEGs, damaged so that pixels may be wrong: {counts}; listed in {out}/{SUSPECT}"
        yield "--reject-suspect leaves them out"
    if manifest.made_with["jpeg_decoder"].startswith("Pillow"):
        yield (
            "JPEGs were decoded by Pillow, which does not notice damage in the middle; "
            "the extra freelight[fast] does, and decodes faster"
        )
    yield f"dataset {out}, labels in {manifest.label_order} order, fingerprint {manifest.fingerprint[:12]}"


def summarize_source(source: Source | OrderedSource, settings: ShardSettings) -> Iterator[str]:
    """Yield the lines of a dry run: what the source holds, and the shards that would be made from it."""
    yield f"{source.root}: layout {source.layout}"
    if isinstance(source, OrderedSource):
        for file in source.files():
            yield f"  {file}, {(source.root / file).stat().st_size / 1e6:.1f} MB"
        yield from source.notes
        yield "this layout can only be read in order; its images are counted and labelled when the dataset is made"
        return
    tasks = deal_shards(source, settings)
    for name, images in source.splits.items():
        labels = np.fromiter((image.label for image in images), np.int64, len(images))
        yield (
            f"{name}: {len(images)} images of {len(source.classes)} classes, "
            f"{sum(image.bytes for image in images) / 1e6:.1f} MB; "
            f"{_describe_counts(count_per_class(labels, len(source.classes)))}; "
            f"{sum(task.split == name for task in tasks)} shards"
        )
    yield from _warn_and_note(len(source.classes), source.notes)
    for left in source.left_out:
        yield f"left out: {left.path} ({left.reason})"


def _warn_and_note(classes: int, notes: Iterable[str]) -> Iterator[str]:
    yield from notes
    if classes == 1:
        yield "warning: there is only 1 class; the pictures of all classes may have been put into it"


def _describe_counts(per_class: dict[str, float] | None) -> str:
    if per_class is None:
        return "no labels"
    return "{min} to {max} a class, mean {mean:.1f}".format(**per_class)
