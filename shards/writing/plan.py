"""The plan: everything that decides a dataset's bytes, saved before the first shard so that a restart must match it.

Also the lock that keeps a second run out of the folder.
"""

import hashlib
import itertools
import json
import os
import reprlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base import TEMPORARY_SUFFIX, FreelightError, anything, as_text, atomic_write, lock_file, mapping, read_json
from ..dataset import SCHEMA
from ..sources import OrderedSource, Source, read_list
from .settings import NOT_IN_0_1, VERSIONS, same_version

PARTIAL = ".partial"
"""Folder in the output for records of finished shards, segments and the lock; deleted after the manifest is written."""
PLAN, LOCK = "plan.json", "lock"
PARENT = "parent"
"""Entry of a plan: the fingerprint of the dataset to which pictures are appended."""


def describe_source(source: Source | OrderedSource) -> dict[str, Any]:
    """Return what the manifest says of a source. A copy of the source elsewhere has the same description."""
    facts = {"layout": source.layout, "name": as_text(source.root.resolve().name)}
    if isinstance(source, OrderedSource):
        sizes = [(file, (source.root / file).stat().st_size) for file in source.files()]
        return {**facts, "listing": _hash(f"{file}\0{size}\n" for file, size in sizes), **_describe_labelling(source)}
    counts = {split: len(images) for split, images in source.splits.items()}
    head = [f"{info.id}\0{info.name}\n" for info in source.classes]
    head += ["\0".join(left) + "\n" for left in source.left_out]
    lists = [
        (f"{split}\0{image.path}\0{image.label}\0{image.bytes}\n" for image in images)
        for split, images in source.splits.items()
    ]
    listing = _hash(head, *lists)
    return {**facts, "images": counts, "listing": listing}


def source_times(source: Source | OrderedSource) -> str:
    """Return a hash of the times at which the source's files were written. A restart compares it."""
    if isinstance(source, OrderedSource):
        return _hash(f"{file}\0{(source.root / file).stat().st_mtime_ns}\n" for file in source.files())
    return _hash(*((f"{image.file}\0{image.mtime_ns}\n" for image in images) for images in source.splits.values()))


def _describe_labelling(source: OrderedSource) -> dict[str, Any]:
    """Return what decides the labels of an ordered source, which are not known before it is read."""
    labelling = source.labelling
    wanted = labelling.wanted()
    names = read_list(labelling.class_names, "'<class id><tab><name>'") if labelling.class_names else ""
    return {
        "val_fraction": labelling.val_fraction,
        "label_order": labelling.label_order,
        "classes": None if wanted is None else _hash(sorted(wanted)),
        "class_names": _hash([names, *source.class_names]),
    }


def _hash(*streams: Iterable[str]) -> str:
    """Return the sha256 of all texts, one after the other."""
    digest = hashlib.sha256()
    texts = itertools.chain.from_iterable(streams)
    while block := list(itertools.islice(texts, 4096)):  # a call of update() per text takes longer
        digest.update("".join(block).encode(errors="surrogateescape"))
    return digest.hexdigest()


# Keys of the plan whose values are hashes -> what a difference means.
_HASHED = {
    "listing": "other classes, or pictures of other paths or sizes",
    "times": "pictures written at other times",
    "classes": "another list of `classes`",
    "class_names": "other class names",
}


def describe_changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return in words which entries of `now` differ from `before`."""
    words = []
    for key in (key for key in now if before.get(key) != now.get(key)):
        then_and_now = f"{key}: {reprlib.repr(before.get(key))} then, {now.get(key)!r} now"
        words.append(_HASHED.get(key) or then_and_now + (", which may give other bytes" if key in VERSIONS else ""))
    return "; ".join(words)


def save_or_check_plan(out: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Write the plan into `out`, and return it with the schema in which the dataset is begun.

    If there is one, of a stopped run, return that one. Raises `FreelightError` unless it is the same; a version of
    Freelight may be another one that gives the same bytes.
    """
    path = out / PARTIAL / PLAN
    if path.exists():
        begun = {"schema": 1, **NOT_IN_0_1, **read_plan(out / PARTIAL)}
        plan = {"schema": begun["schema"], **plan, "freelight": same_version(begun.get("freelight"))}
        if begun != plan:
            raise FreelightError(
                f"{out} was started with other settings or another source "
                f"({describe_changes(begun, plan)}); "
                "give the same ones, or delete the folder, or choose another `out`"
            )
        for folder in (out, out / PARTIAL):
            for leftover in folder.glob(f"*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)
        return begun
    plan = {"schema": SCHEMA, **plan}
    with atomic_write(path) as file:
        file.write(json.dumps(plan, indent=1).encode())
    return plan


def refuse_begun_append(partial: Path) -> None:
    """Raise `FreelightError` if a stopped run began to append pictures, which another kind of run would forget."""
    if (partial / PLAN).exists() and PARENT in read_plan(partial):
        raise FreelightError(f"pictures are being appended to {partial.parent}; finish that first with `append`")


def read_plan(partial: Path) -> dict[str, Any]:
    """Return the plan of a stopped run."""
    plan: dict[str, Any] = read_json(
        partial / PLAN, mapping(anything), remedy=f"delete {partial.parent} and start again"
    )
    return plan


@contextmanager
def lock_output(out: Path) -> Iterator[Path]:
    """Create `out` and its `PARTIAL` folder if they are missing, lock them, and yield the `PARTIAL` folder.

    Raises `FreelightError` if another run holds the lock, or if `out` holds files that make_shards did not write.
    """
    partial = out / PARTIAL
    if not (partial / PLAN).exists() and out.exists() and any(entry.name != PARTIAL for entry in out.iterdir()):
        raise FreelightError(
            f"`out` {out} is not empty and was not started by make_shards or index_shards; choose another"
        )
    with lock_folder(partial):
        yield partial


@contextmanager
def lock_folder(partial: Path) -> Iterator[None]:
    """Create the `PARTIAL` folder of an output if it is missing, and lock it; remove it if nothing else came there.

    Raises `FreelightError` if another run holds the lock.
    """
    partial.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(partial / LOCK)
    except BlockingIOError:
        raise FreelightError(f"another run is writing {partial.parent}; wait for it, or choose another `out`") from None
    try:
        yield
    finally:
        if partial.is_dir() and os.listdir(partial) == [LOCK]:
            shutil.rmtree(partial)
        os.close(lock)
