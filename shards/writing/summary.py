"""Summarize a dataset, or the source of a dry run, in a few lines of text."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import FreelightError, counted
from ..dataset import BOXES, REJECTED, SUSPECT, FieldInfo, Manifest, summarize_sizes
from ..images import MAX_PICTURE, ORIGINAL, SQUARE, Rescaling, picture_size
from ..sources import OrderedSource, Source
from .dealing import ShardTask, deal_shards
from .output import refuse_output_within
from .settings import NOT_IN_0_1, ShardSettings

LOOKED_AT = 100
"""Number of images per split whose sizes a dry run looks at."""
NO_VAL = (
    "no val split: nothing measures errors during training, there is no best.pt, and recipes that lower their learning "
    "rate by the validation error (paper) cannot be trained; {}"
)
HOLD_OUT = "give --val-fraction 0.1 to hold out a tenth of each class"


def count_per_class(labels: npt.NDArray[Any], classes: int) -> dict[str, float] | None:
    """Return the min, max and mean number of samples of a class; None if samples have no labels (-1)."""
    if (labels < 0).any():
        return None
    counts = np.bincount(labels, minlength=classes)
    return {"min": int(counts.min()), "max": int(counts.max()), "mean": round(float(counts.mean()), 1)}


def summarize_dataset(manifest: Manifest, out: object) -> Iterator[str]:
    """Yield a line for each split of the dataset at `out`, others for sizes and rejects, and one for the dataset."""
    for name, split in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in split.shards) / 1e6
        kinds = ", ".join(f"{count} {kind}" for kind, count in split.kinds.items() if kind != "colour")
        yield (
            f"{name}: {counted(split.samples, 'sample')} of {counted(len(manifest.classes), 'class', 'classes')} in "
            f"{counted(len(split.shards), 'shard')}, "
            f"{megabytes:.1f} MB, {split.rejected} rejected; {_describe_counts(split.per_class)}"
            + (f"; {kinds} in the source" if kinds else "")
        )
    yield _describe_geometry(
        {**NOT_IN_0_1, **manifest.made_with}, {name: split.sizes for name, split in manifest.splits.items()}
    )
    for name, split in manifest.splits.items():
        if split.fields:
            yield f"{name}: fields {', '.join(itertools.starmap(_describe_field, split.fields.items()))}"
    yield from _warn_and_note(len(manifest.classes), manifest.source.get("notes", ()))
    if "val" not in manifest.splits and "train" in manifest.splits:
        indexed = manifest.splits["train"].indexed
        yield NO_VAL.format("index it again with --split val=TARS" if indexed else HOLD_OUT)
    if any(split.rejected for split in manifest.splits.values()):
        yield f"rejected images and the reasons: {out}/{REJECTED}"
    parts = [manifest.source, *(part.source for part in manifest.appended)]
    if suspect := sum((Counter(part.get("suspect", {})) for part in parts), Counter[str]()):
        counts = ", ".join(f"{count} in {name}" for name, count in suspect.items())
        yield f"suspect JPEGs, damaged so that pixels may be wrong: {counts}; listed in {out}/{SUSPECT}"
        yield "--reject-suspect leaves them out"
    if manifest.made_with["jpeg_decoder"].startswith("Pillow"):
        yield (
            "JPEGs were decoded by Pillow, which does not notice damage in the middle; "
            "the extra freelight[fast] does, and decodes faster"
        )
    if manifest.appended:
        before = ", then ".join(part.parent[:12] for part in manifest.appended)
        yield (
            f"pictures were appended to the fingerprint {before}; earlier statistics are stale: "
            f"run freelight compute-pca --shards {out}"
        )
    order = "sorted by class id" if manifest.label_order == "wnid" else f"in {manifest.label_order} order"
    yield f"dataset {out}, labels {order}, fingerprint {manifest.fingerprint[:12]}"


def dataset_figures(manifest: Manifest, out: object) -> dict[str, Any]:
    """Return what `summarize_dataset` says as plain values, for `--json`."""
    return {
        "dataset": str(out),
        "fingerprint": manifest.fingerprint,
        "classes": len(manifest.classes),
        "label_order": manifest.label_order,
        "splits": {
            name: {
                "samples": split.samples,
                "shards": len(split.shards),
                "bytes": sum(shard.bytes for shard in split.shards),
                "rejected": split.rejected,
            }
            for name, split in manifest.splits.items()
        },
        "lines": list(summarize_dataset(manifest, out)),
    }


def summarize_source(
    source: Source | OrderedSource, settings: ShardSettings, out: Path | str | None = None
) -> Iterator[str]:
    """Yield the lines of a dry run: what the source holds, and the shards that would be made from it.

    out: refused where `make_shards` would refuse it, if it is not None.
    """
    if out is not None:
        refuse_output_within(source, out)
    yield f"{source.root}: layout {source.layout}"
    if isinstance(source, OrderedSource):
        for file in source.files():
            yield f"  {file}, {(source.root / file).stat().st_size / 1e6:.1f} MB"
        yield _describe_geometry(settings.made_with(), {})
        yield from source.notes
        yield "this layout can only be read in order; its images are counted and labelled when the dataset is made"
        return
    tasks = deal_shards(source, settings)
    for name, images in source.splits.items():
        labels = np.fromiter((image.label for image in images), np.int64, len(images))
        yield (
            f"{name}: {counted(len(images), 'image')} of {counted(len(source.classes), 'class', 'classes')}, "
            f"{sum(image.bytes for image in images) / 1e6:.1f} MB; "
            f"{_describe_counts(count_per_class(labels, len(source.classes)))}; "
            f"{counted(sum(task.split == name for task in tasks), 'shard')}"
        )
    whole = settings.rescaling.geometry != SQUARE
    looked = {name: _look_at_sizes(source, name, tasks, settings.rescaling) for name in source.splits} if whole else {}
    yield _describe_geometry(settings.made_with(), looked) + (
        f"; from the headers of at most {LOOKED_AT} images a split, chosen at random" if whole else ""
    )
    yield from _warn_and_note(len(source.classes), source.notes)
    if "val" not in source.splits and "train" in source.splits:
        yield NO_VAL.format(HOLD_OUT)
    for left in source.left_out:
        yield f"left out: {left.path} ({left.reason})"


def _look_at_sizes(
    source: Source, split: str, tasks: Iterable[ShardTask], rescaling: Rescaling
) -> dict[str, dict[str, float]] | None:
    """Return the sizes that some images of a split will have, from their headers; None if none can be read."""
    images = itertools.chain.from_iterable(task.images for task in tasks if task.split == split)
    found = []
    for image in itertools.islice(images, LOOKED_AT):
        data = source.read(image) if image.bytes <= MAX_PICTURE else b""
        with contextlib.suppress(FreelightError):  # make_shards will list it with the reason
            found.append(tuple(axis.kept for axis in rescaling.axes(*picture_size(data, rescaling.max_pixels))))
    return summarize_sizes(np.array(found, [("height", "<u4"), ("width", "<u4")])) if found else None


def _describe_geometry(made_with: dict[str, Any], sizes: dict[str, dict[str, dict[str, float]] | None]) -> str:
    """Return a line on the geometry and, by split, the sizes of the images. A size may be unknown: None."""
    line = f"geometry {made_with['geometry']}"
    if "size" in made_with:
        line += f", size {made_with['size']}"
    if made_with["geometry"] not in (SQUARE, ORIGINAL):
        line += ", smaller images enlarged" if made_with["enlarge"] else ", smaller images not enlarged"
    return "; ".join([line, *(f"{name}: {_describe_sizes(found)}" for name, found in sizes.items() if found)])


def _describe_field(name: str, info: FieldInfo) -> str:
    if info.kind == BOXES:
        return f"{name} ({info.rows} boxes)"
    rows = f"rows of {' x '.join(map(str, info.shape))} numbers" if info.shape else "numbers"
    return f"{name} ({info.rows} {rows}, {np.dtype(info.dtype).name})"


def _describe_sizes(sizes: dict[str, dict[str, float]]) -> str:
    return ", ".join(
        f"{side} {span['min']:g}"
        + (f" to {span['max']:g} (median {span['median']:g})" if span["min"] < span["max"] else "")
        for side, span in sizes.items()
    )


def _warn_and_note(classes: int, notes: Iterable[str]) -> Iterator[str]:
    yield from notes
    if classes == 1:
        yield "warning: there is only 1 class; the pictures of all classes may have been put into it"


def _describe_counts(per_class: dict[str, float] | None) -> str:
    if per_class is None:
        return "no labels"
    if per_class["min"] == per_class["max"]:
        return f"{per_class['min']} a class"
    return "{min} to {max} a class, mean {mean:.1f}".format(**per_class)
