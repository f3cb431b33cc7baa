"""A part of a dataset that grows: how the pictures of a source become further shards of it."""

import re
from dataclasses import replace
from typing import Any

from ..base import FreelightError
from ..dataset import Manifest
from ..sources import LeftOut, OrderedSource, Source
from .dealing import ShardTask, deal_shards
from .plan import describe_source
from .settings import ShardSettings


def describe_part(source: Source | OrderedSource, split: str | None) -> tuple[Source | OrderedSource, dict[str, Any]]:
    """Return the source with its pictures in `split`, and what the manifest says of it.

    split: name for the pictures of a source that has only train; None keeps the names. `as_part` renames the split of
    an ordered source, which is not known yet.
    """
    if split is not None and isinstance(source, Source):
        source = _rename_split(source, split)
    return source, describe_source(source) | ({} if split is None else {"split": split})


def as_part(source: Source, manifest: Manifest, split: str | None) -> Source:
    """Give a source the classes of the dataset it is appended to, and its pictures the split of that name.

    Raises `FreelightError` for a class that the dataset lacks.
    """
    if split is not None and split not in source.splits:
        source = _rename_split(source, split)
    labels = {info.id: label for label, info in enumerate(manifest.classes)}
    if unknown := [info.id for info in source.classes if info.id not in labels]:
        raise FreelightError(
            f"{source.root} has the class {unknown[0]!r}, which the dataset lacks: a further class would change the "
            "labels of others; make the dataset again from all pictures"
        )
    label_of = [*(labels[info.id] for info in source.classes), -1]  # the place -1 is that of no label
    splits = {
        name: [image._replace(label=label_of[image.label]) for image in images]
        for name, images in source.splits.items()
    }
    return replace(source, classes=manifest.classes, splits=splits)


def deal_part(source: Source, settings: ShardSettings, parent: Manifest) -> list[ShardTask]:
    """Cut a source into the shards that follow those of the dataset `parent`."""
    numbers = {}
    for split, info in parent.splits.items():
        found = re.fullmatch(r".*-([0-9]{6,9})\.tar", info.shards[-1].name)
        if found is None:
            raise FreelightError(f"{info.shards[-1].name} is no shard of make_shards; only its datasets can grow")
        numbers[split] = int(found[1]) + 1
    return deal_shards(source, settings, part=1 + len(parent.appended), first_shards=numbers)


def _rename_split(source: Source, split: str) -> Source:
    """Give the pictures of a source that has only train another split."""
    if list(source.splits) != ["train"]:
        raise FreelightError(
            f"`split` names the pictures of a source that has only train, but {source.root} has "
            f"{', '.join(source.splits)}; omit it"
        )
    left_out = tuple(LeftOut(split, left.path, left.reason) for left in source.left_out)
    return replace(source, splits={split: source.splits["train"]}, left_out=left_out)
