"""What decides a dataset's bytes, written down before the first shard so that a restart is held to it; the lock."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base.atomic import TEMPORARY_SUFFIX, atomic_write
from ..base.errors import FreelightError
from ..base.locks import lock_file
from ..sources.listing import Source
from ..sources.ordered import OrderedSource

# Records of finished shards, the staging area and the lock live here until the manifest is written.
PARTIAL = ".partial"
PLAN, LOCK = "plan.json", "lock"


def describe_source(source: Source | OrderedSource) -> dict[str, Any]:
    """Return what the manifest says of a source: what a copy of it elsewhere shares."""
    facts = {"layout": source.layout, "name": source.root.resolve().name}
    if isinstance(source, OrderedSource):
        files = sorted({piece.file for piece in source.pieces})
        sizes = [(file, (source.root / file).stat().st_size) for file in files]
        return {**facts, "listing": _hash(f"{file}\0{size}\n" for file, size in sizes), **_labelling(source)}
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
    """Hash when each file of the source was written: tells a change between a stop and a restart."""
    if isinstance(source, OrderedSource):
        files = sorted({piece.file for piece in source.pieces})
        return _hash(f"{file}\0{(source.root / file).stat().st_mtime_ns}\n" for file in files)
    return _hash(*((f"{image.file}\0{image.mtime_ns}\n" for image in images) for images in source.splits.values()))


def _labelling(source: OrderedSource) -> dict[str, Any]:
    """Return what gives an ordered source its labels, which are known only once it was staged."""
    labelling = source.labelling
    wanted = labelling.wanted()
    names = labelling.class_names.read_text(encoding="utf-8-sig") if labelling.class_names else ""
    return {
        "val_fraction": labelling.val_fraction,
        "label_order": labelling.label_order,
        "classes": None if wanted is None else _hash(sorted(wanted)),
        "class_names": _hash([names, *source.label_names]),
    }


def _hash(*streams: Any) -> str:
    digest = hashlib.sha256()
    for stream in streams:
        lines = iter(stream)
        while some := "".join(line for _, line in zip(range(4096), lines)):  # noqa: B905 - the last ones are fewer
            digest.update(some.encode(errors="surrogateescape"))
    return digest.hexdigest()


# What it means that a hash differs.
_HASHES = {
    "listing": "other classes, or pictures of other paths or sizes",
    "times": "pictures written at other times",
    "classes": "another --classes",
    "class_names": "other class names",
}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in words what differs."""
    changed = [key for key in now if before.get(key) != now.get(key)]
    return "; ".join(_HASHES.get(key) or f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in changed)


def begin(out: Path, plan: dict[str, Any]) -> None:
    """Write the plan into `out`, or hold a restart to the one that is there."""
    path = out / PARTIAL / PLAN
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        if begun != plan:
            raise FreelightError(
                f"{out} was begun with other settings or another source "
                f"({difference(begun, plan)}); "
                "give the same ones, or delete it, or choose another --out"
            )
        for folder in (out, out / PARTIAL):
            for leftover in folder.glob(f"*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        file.write(json.dumps(plan, indent=1).encode())


@contextmanager
def exclusive(out: Path) -> Iterator[Path]:
    """Yield `out`'s folder for what is unfinished, made or found, while no other run has it.

    Raises `FreelightError` when another run is at work, or `out` holds files that no run of this tool began.
    """
    partial = out / PARTIAL
    if not (partial / PLAN).exists() and out.exists() and any(entry.name != PARTIAL for entry in out.iterdir()):
        raise FreelightError(f"--out {out} is not empty and was not begun by make_shards; choose another")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(partial / LOCK)
    except BlockingIOError:
        raise FreelightError(f"another run is writing {out}; wait for it, or choose another --out") from None
    try:
        yield partial
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FreelightError(
            f"the disk of {out} is full; finished shards stay: free some space and run the same command again"
        ) from error
    finally:
        os.close(lock)
