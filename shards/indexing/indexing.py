"""Make a dataset directory of existing tars, which stay as they are: index each once, and resume after a stop."""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ..base import (
    TEMPORARY_SUFFIX,
    CountOrAuto,
    FreelightError,
    anything,
    as_file_name,
    atomic_write,
    hash_file,
    mapping,
    naming_pictures,
    read_json,
    run_tasks,
)
from ..dataset import (
    MANIFEST,
    METADATA,
    REJECTED,
    SAMPLE,
    Manifest,
    ShardInfo,
    SplitInfo,
    check_presence,
    common_side,
    index_name,
    sizes_in,
    summarize_sizes,
)
from ..images import ORIGINAL
from ..layouts import Listed
from ..writing import (
    PARTIAL,
    PLAN,
    Output,
    RejectLimit,
    count_per_class,
    describe_changes,
    lock_output,
    save_dataset,
    save_tables,
)
from .classes import name_classes, read_classes
from .field_tables import join_field
from .fields import FieldPlace
from .inputs import TarSplit, find_tars
from .samples import LabelPlace
from .tar import CHECKS, TarRecord, TarTask, index_tar

UNLABELLED_SPLITS = frozenset({"test"})
"""Splits whose samples may have no label."""
_NEW: dict[str, Any] = {"fields": []}
"""What a dataset does not say that was indexed before there were fields."""
Watch = Callable[[Iterable[TarRecord], int | None], Iterable[TarRecord]]


@dataclass(frozen=True, kw_only=True)
class TarSource:
    """What to index. splits: in order. fields: as `list_tars` takes them. listed: the classes in label order; empty if
    they are not known. notes: lines for the summary.
    """

    splits: tuple[TarSplit, ...]
    label: str
    check: str
    fields: tuple[str, ...]
    listed: tuple[Listed, ...]
    notes: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return what decides the files of the dataset, but for the tars' content and place."""
        tars = {
            split.name: [len(split.tars), _hash([split.base or "", *(tar.rpartition("/")[2] for tar in split.tars)])]
            for split in self.splits
        }
        classes = _hash(itertools.chain.from_iterable((known.id or "", known.name) for known in self.listed))
        return {
            "layout": "tars",
            "tars": tars,
            "label": self.label,
            "check": self.check,
            "class_names": classes,
            "fields": list(self.fields),
        }


def list_tars(
    splits: Sequence[str],
    *,
    label: str = "cls",
    check: str = "crc",
    class_names: Path | None = None,
    fields: Sequence[str] = (),
) -> TarSource:
    """List the tars of each split, and read the list of classes.

    splits: texts `<split>=<tars>`; tars with `{0000..1023}`, `{a,b}`, `*`, as paths, or behind a URL. label: extension
    of the members that hold the label, or `json:<key>`. check: "crc" reads sizes from the headers; "decode" also
    decodes every picture as the loader does. class_names: file of the classes in label order; without it a list beside
    the tars is read. fields: numeric fields to keep, texts `<name>=json:<key>`, or `<name>=npy` for a member; with
    `xyxy:` or `xywh:` after the = the rows are boxes, in pixels of the upright picture, and a field named `boxes` has
    boxes xyxy. A number alone counts as one row. Whole numbers of a `.json` are int64, others float64; boxes are
    float32.
    """
    LabelPlace.parse(label)
    names = Counter(FieldPlace.parse(field).name for field in fields)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise FreelightError(f"`fields` name {repeated[0]!r} twice; give each field a name of its own")
    if check not in CHECKS:
        raise FreelightError(f"`check` (={check}) must be one of {', '.join(CHECKS)}")
    found, notes = find_tars(splits)
    folders = dict.fromkeys(
        Path(as_file_name(tar)).parent for split in found if split.base is None for tar in split.tars
    )
    return TarSource(
        splits=tuple(found),
        label=label,
        check=check,
        fields=tuple(fields),
        listed=tuple(read_classes(class_names, folders)),
        notes=tuple(notes),
    )


def index_shards(
    source: TarSource,
    out: Path,
    *,
    workers: CountOrAuto = 1,
    max_rejected: float | None = None,
    watch: Watch = lambda records, total: records,
) -> Manifest:
    """Write the dataset directory `out` over existing tars, or finish one that was started with the same source.

    Tars of this machine are linked: `out` holds symbolic links with absolute targets. Of tars behind a URL the manifest
    holds the URL. workers: as in `run_tasks`. max_rejected: maximum number of samples that may be left out: a count, or
    a share of all if below 1; None allows any number. watch: gets the records of finished tars, and yields the same
    ones.

    Raises `FreelightError` if too many samples are rejected, if `out` holds something else, if another run writes it,
    or if a tar is damaged.
    """
    out = out.absolute()
    if (out / MANIFEST).exists():
        return _check_finished(source, out)
    limit = RejectLimit(max_rejected)
    with lock_output(out):
        _save_or_check_plan(source, out)
        tasks = [
            TarTask(split.name, shard, tar, split.base)
            for split in source.splits
            for shard, tar in enumerate(split.tars)
        ]
        known = {task: record for task in tasks if (record := TarRecord.load(out, task)) is not None}
        missing = [task for task in tasks if task not in known]
        place, fields = LabelPlace.parse(source.label), [FieldPlace.parse(field) for field in source.fields]
        index = functools.partial(_index_task, out, place, fields, source.check)
        with naming_pictures(out / PARTIAL), contextlib.closing(run_tasks(index, missing, workers=workers)) as fresh:
            records = list(watch(limit.check(itertools.chain(known.values(), fresh), None), None))
        by_tar = {(record.base, record.tar): record for record in records}
        ordered = [(task, by_tar[task.base, task.tar]) for task in tasks]
        total = sum(record.images for record in records)
        for _ in limit.check((record for _, record in ordered), total):
            pass
        manifest = _finish(source, out, ordered)
        shutil.rmtree(out / PARTIAL)
    return manifest


def _index_task(out: Path, place: LabelPlace, fields: list[FieldPlace], check: str, task: TarTask) -> TarRecord:
    return index_tar(out, place, fields, check, UNLABELLED_SPLITS, task)


def _save_or_check_plan(source: TarSource, out: Path) -> None:
    """Write what decides the dataset. Raises `FreelightError` if a stopped run was started with something else."""
    path, plan = out / PARTIAL / PLAN, source.describe()
    if path.exists():
        begun = {**_NEW, **read_json(path, mapping(anything), remedy=f"delete {out} and start again")}
        if begun != plan:
            raise FreelightError(
                f"{out} was started with other tars or another command ({describe_changes(begun, plan)}); "
                "give the same ones, or delete the folder, or choose another `out`"
            )
        for leftover in (*out.glob(f"*{TEMPORARY_SUFFIX}"), *(out / PARTIAL).glob(f"*{TEMPORARY_SUFFIX}")):
            leftover.unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        file.write(json.dumps(plan, indent=1).encode())


def _check_finished(source: TarSource, out: Path) -> Manifest:
    """Return the manifest of a finished dataset. Raises `FreelightError` if it is of other tars."""
    manifest = Manifest.load(out)
    before = {**_NEW, **{name: value for name, value in manifest.source.items() if name not in ("name", "notes")}}
    if before != source.describe():
        raise FreelightError(
            f"{out} is a finished dataset of other tars, or with other settings "
            f"({describe_changes(before, source.describe())}); choose another `out`"
        )
    for split in source.splits:
        known = {as_file_name(tar) for tar in split.tars}
        for shard in () if split.base else manifest.splits[split.name].shards:
            if (link := out / shard.name).is_symlink() and (target := os.readlink(link)) not in known:
                raise FreelightError(f"{out} is a finished dataset of other tars ({target}); choose another `out`")
    check_presence(manifest, sizes_in(out), out, remedy="put it back, or index the tars again")
    if (out / PARTIAL).is_dir():  # left by a stop after the manifest was written
        shutil.rmtree(out / PARTIAL)
    return manifest


def _finish(source: TarSource, out: Path, records: list[tuple[TarTask, TarRecord]]) -> Manifest:
    """Write the files of each split, the list of rejects, and last the manifest."""
    by_split = {
        split.name: [(task, found) for task, found in records if task.split == split.name] for split in source.splits
    }
    classes, label_of = name_classes(
        list(source.listed), {split: [record for _, record in found] for split, found in by_split.items()}
    )
    splits = {
        split.name: _finish_split(out, split, by_split[split.name], label_of, len(classes), source.fields)
        for split in source.splits
    }
    rejected = b"".join(json.dumps(reject).encode() + b"\n" for _, record in records for reject in record.rejected)
    ids = [info.id for info in classes]
    manifest = Manifest(
        classes=classes,
        label_order="wnid" if ids == sorted(ids) else "shards",
        image_size=common_side(splits.values()),
        made_with={
            "geometry": ORIGINAL,
            "limit": None,
            "samples_per_shard": max(shard.samples for split in splits.values() for shard in split.shards),
            "jpeg_decoder": "none",
            "freelight": __version__,
        },
        source={
            **source.describe(),
            "name": _place(source.splits[0]).rpartition("/")[2],
            "notes": _notes(source, records),
        },
        splits=splits,
        files={},
    )
    return save_dataset(Output(out), manifest, {REJECTED: rejected})


def _finish_split(
    out: Path,
    split: TarSplit,
    records: list[tuple[TarTask, TarRecord]],
    label_of: dict[str, int],
    classes: int,
    fields: Sequence[str],
) -> SplitInfo:
    """Join the tables and names of a split's tars."""
    kept = [(task, record) for task, record in records if record.samples]
    if not kept:
        rejects = [record.rejected[-1] for _, record in records if record.rejected]
        why = f"the last one rejected: {json.dumps(rejects[-1])}" if rejects else "its tars hold none"
        raise FreelightError(f"no sample of the split {split.name!r} can be used; {why}")
    for task, record in records:
        if not record.samples:
            (out / task.index_name).unlink(missing_ok=True)
    files = {}
    for shard, (task, record) in enumerate(kept):
        name = task.index_name if split.base is None else index_name(split.name, shard)
        os.replace(out / task.index_name, out / name)  # the same name, unless a tar before it has no samples
        files[name] = record.files["idx"]
        if split.base is None:
            _link(out / task.name, as_file_name(task.tar))
    samples = np.empty(sum(record.samples for _, record in kept), SAMPLE)
    metadata = np.empty(len(samples), METADATA)
    first = 0
    for shard, (task, record) in enumerate(kept):
        rows = record.rows(out, task)
        last = first + len(rows)
        for column in SAMPLE.names or ():
            samples[column][first:last] = rows[column]
        samples["shard"][first:last] = shard
        labels = np.array([*(label_of[text] for text in record.labels), -1])  # the place -1 is that of no label
        samples["label"][first:last] = labels[rows["label"]]
        for column in METADATA.names or ():
            metadata[column][first:last] = rows[f"metadata_{column}"]
        first = last
    sources = ((out / task.partial("txt")).read_bytes() for task, _ in kept)
    files |= save_tables(Output(out), split.name, samples, metadata, sources)
    joined = {}
    for place in map(FieldPlace.parse, fields):
        joined[place.name], written = join_field(
            out, split.name, place, [record.tables(out, task) for task, record in kept]
        )
        files |= {name: hash_file(out / name) for name in written}
    return SplitInfo(
        samples=len(samples),
        labelled=bool((samples["label"] >= 0).all()),
        rejected=sum(len(record.rejected) for _, record in records),
        per_class=count_per_class(samples["label"], classes),
        kinds=dict(sorted(sum((Counter(record.kinds) for _, record in kept), Counter[str]()).items())),
        shards=tuple(ShardInfo(task.name, record.samples, record.bytes, record.sha256) for task, record in kept),
        files=files,
        sizes=summarize_sizes(samples),
        indexed=True,
        base=split.base,
        fields=joined,
    )


def _notes(source: TarSource, records: list[tuple[TarTask, TarRecord]]) -> list[str]:
    """Return lines for the summary."""
    notes = list(source.notes)
    for split in source.splits:
        if split.base is None:
            notes.append(f"{split.name}: links to the tars in {_place(split)}; do not move or change them")
        else:
            notes.append(f"{split.name}: the tars are read from {split.base}; give --cache to use them")
    ignored = sum((Counter(record.ignored) for _, record in records), Counter[str]())
    return notes + [f"{count} {kind} are ignored" for kind, count in sorted(ignored.items())]


def _place(split: TarSplit) -> str:
    return split.base or split.tars[0].rpartition("/")[0]


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{text}\n" for text in texts).encode(errors="surrogateescape")).hexdigest()


def _link(link: Path, target: str) -> None:
    """Make, or replace, a symbolic link."""
    temporary = link.with_name(f"{link.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    os.symlink(target, temporary)
    os.replace(temporary, link)
