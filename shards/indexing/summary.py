"""Summarize the tars of a dry run in a few lines of text."""

import os
from collections import Counter
from collections.abc import Iterator

from ..base import FreelightError, as_file_name, counted, retry
from .fields import FieldPlace
from .indexing import UNLABELLED_SPLITS, TarSource
from .inputs import TarSplit
from .samples import LabelPlace, Sample, read_samples
from .stream import open_stream


def summarize_tars(source: TarSource) -> Iterator[str]:
    """Yield the lines of a dry run: the tars of each split, its first sample, and the classes."""
    for split in source.splits:
        where = split.base or split.tars[0].rpartition("/")[0]
        size = ""
        if split.base is None:
            size = f", {sum(os.stat(as_file_name(tar)).st_size for tar in split.tars) / 1e6:.1f} MB"
        yield f"{split.name}: {counted(len(split.tars), 'tar')} in {where}{size}"
        yield f"  {_describe_first(split, source)}"
    listed = f"classes listed: {len(source.listed)}"
    yield listed if source.listed else "no list of classes: labels give their ids"
    yield from source.notes


def _describe_first(split: TarSplit, source: TarSource) -> str:
    place, fields, tar = LabelPlace.parse(source.label), list(map(FieldPlace.parse, source.fields)), split.tars[0]

    def first() -> Sample | None:
        with open_stream(tar, split.base) as stream:
            labelled = split.name not in UNLABELLED_SPLITS
            samples = read_samples(stream, tar, place, Counter(), fields=fields, keep=False, labelled=labelled)
            return next(samples, None)

    sample = retry(first, f"{tar} cannot be read", missing=f"{tar} is missing; correct `splits`")
    if sample is None:
        raise FreelightError(f"{tar} holds no sample; correct `splits`")
    members = ", ".join(f".{kind}" for kind, *_ in sample.members)
    what = f"cannot be used: {sample.fault}" if sample.fault else f"label {sample.label or 'none'}"
    kept = "".join(f", {name} {' x '.join(map(str, array.shape))}" for name, array in sample.fields.items())
    return f"first sample: {sample.key} ({members}), {what}{kept}"
