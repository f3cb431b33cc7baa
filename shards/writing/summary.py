"""What a person wants to know of a dataset, or of a source before it is made one, in a few lines."""

from collections.abc import Iterator

import numpy as np

from ..dataset.directory import REJECTED, Manifest
from ..sources.listing import Source
from ..sources.ordered import OrderedSource
from .making import deal_shards, spread
from .settings import ShardSettings


def _spread(counts: dict[str, float] | None) -> str:
    if counts is None:
        return "no labels"
    return "{min} to {max} a class, mean {mean:.1f}".format(**counts)


def summarize(manifest: Manifest, out: object) -> Iterator[str]:
    """Yield a line for each split of the dataset at `out`, one for the rejects, and one for the whole."""
    for name, split in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in split.shards) / 1e6
        kinds = ", ".join(f"{count} {kind}" for kind, count in split.kinds.items() if kind != "colour")
        yield (
            f"{name}: {split.samples} samples of {len(manifest.classes)} classes in {len(split.shards)} shards, "
            f"{megabytes:.1f} MB, {split.rejected} rejected; {_spread(split.per_class)}"
            + (f"; {kinds} in the source" if kinds else "")
        )
    if any(split.rejected for split in manifest.splits.values()):
        yield f"rejects and their reasons: {out}/{REJECTED}"
    if manifest.made_with["jpeg_decoder"].startswith("Pillow"):
        yield "JPEGs were decoded by Pillow; with the extra freelight[fast] that takes less time"
    yield f"dataset {out}, labels in {manifest.label_order} order, fingerprint {manifest.fingerprint[:12]}"


def survey(source: Source | OrderedSource, settings: ShardSettings) -> Iterator[str]:
    """Yield the lines of a dry run: what was found, and what would be made of it."""
    yield f"{source.root}: layout {source.layout}"
    if isinstance(source, OrderedSource):
        for file in sorted({piece.file for piece in source.pieces}):
            yield f"  {file}, {(source.root / file).stat().st_size / 1e6:.1f} MB"
        yield "this layout is read in order, once; its images are counted and labelled as they are staged"
        return
    tasks = deal_shards(source, settings)
    for name, images in source.splits.items():
        labels = np.fromiter((image.label for image in images), np.int64, len(images))
        counts = spread(np.bincount(labels, minlength=len(source.classes))) if labels.min() >= 0 else None
        yield (
            f"{name}: {len(images)} images of {len(source.classes)} classes, "
            f"{sum(image.bytes for image in images) / 1e6:.1f} MB; {_spread(counts)}; "
            f"{sum(task.split == name for task in tasks)} shards"
        )
    for left in source.left_out:
        yield f"left out: {left.path} ({left.reason})"
