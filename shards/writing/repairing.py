"""Repair a finished dataset: make again what is missing or changed, byte for byte, and put it into its place.

Nothing is replaced before the new file has the hash that the manifest says, so a repair makes no dataset worse.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base import CountOrAuto, FreelightError, StorageOptions, fetch_file, run_tasks
from ..dataset import MANIFEST, Manifest, ShardInfo
from ..sources import OrderedSource, Source
from .dealing import ShardTask
from .descriptions import INFO, manifest_from_info
from .origin import AGAIN, OTHER_BYTES, Origin, Run, describe_failure
from .output import Output, open_output
from .plan import PARTIAL, lock_folder, refuse_begun_append
from .remaking import MAX_FILE, Remaker
from .settings import ShardSettings
from .shard import write_shard

NOT_OF_SOURCE = "it is not of the source that is given"
Watch = Callable[[Iterable[Any], int], Iterable[Any]]


def repair_dataset(
    out: Path | str,
    *,
    source: Source | OrderedSource | None = None,
    settings: ShardSettings | None = None,
    split: str | None = None,
    copy: Path | str | None = None,
    workers: CountOrAuto = 1,
    cluster: str | None = None,
    staging: Path | None = None,
    storage_options: StorageOptions = None,
    watch: Watch = lambda items, total: items,
) -> tuple[Manifest, list[str]]:
    """Compare the hash of every file of the dataset `out` with the manifest, and make those again that differ.

    out: a folder or an fsspec URL. source, settings: those that the dataset was made from; or those that were appended,
    with the `split` of then. copy: another copy of the dataset, a folder or a URL. Without both, only what the dataset
    itself still says is made again: the manifest, indexes, tables of samples, and the card. workers, cluster: as in
    `run_tasks`. staging, storage_options: as in `make_shards`; the options also for a copy behind a URL. watch: gets
    the files that are checked and their number, then the shards that are repaired, and yields the same ones.

    Returns the manifest, and a line for each file that was repaired. Raises `FreelightError` if a file cannot be made
    again to the same bytes, and says why; those that could are then in place.
    """
    if "://" not in str(out) and not Path(out).is_dir():
        raise FreelightError(f"`out` {out} is no dataset; make it first")
    copied = None if copy is None else str(copy).rstrip("/")
    run = functools.partial(run_tasks, workers=workers, cluster=cluster)
    with open_output(out, storage_options) as output, lock_folder(output.folder / PARTIAL), output.locked():
        refuse_begun_append(output.folder / PARTIAL)
        manifest, fault = _find_manifest(output, copied)
        if any(info.indexed for info in manifest.splits.values()):
            raise FreelightError(f"{out} has tars of other people; put the original ones back, or index them again")
        origin = None
        if source is not None and settings is not None:
            origin = Origin.of(manifest, source, settings, split=split, output=output, staging=staging, run=run)
        shards = {shard.name: shard for info in manifest.splits.values() for shard in info.shards}
        others = manifest.files.copy()
        for info in manifest.splits.values():
            others = info.files | others
        bad = _find_changed(output, {name: shard.sha256 for name, shard in shards.items()} | others, run, watch)
        repaired = _repair_shards([shards[name] for name in shards if name in bad], output, copied, origin, run, watch)
        remaker = Remaker(manifest=manifest, output=output, origin=origin, copy=copied, run=run)
        for name, sha256 in others.items():
            if name in bad:
                repaired.append(f"{name} is {remaker.remake(name, sha256)}")
        if fault:
            manifest.save(output.folder)
            output.publish(MANIFEST)
            repaired.append(f"{MANIFEST}, which was {fault}, is written again")
        if origin is not None:
            origin.clean()
        output.remove(PARTIAL)
    return manifest, repaired


def _find_manifest(output: Output, copy: str | None) -> tuple[Manifest, str]:
    """Return the manifest, and in one word what is wrong with `dataset.json`, or "".

    A manifest that is lost or changed comes from `_info.json`, else from another copy of the same dataset.
    """
    path = output.folder / MANIFEST
    try:
        manifest = Manifest.load(output.folder)
        if manifest.to_bytes() == path.read_bytes():
            return manifest, ""
        fault, reason = "changed", f"{MANIFEST} was changed"
    except FreelightError as error:
        fault, reason = ("damaged" if path.exists() else "missing"), str(error).partition("; ")[0]
    try:
        return manifest_from_info(output.folder / INFO), fault
    except FreelightError as error:
        reason += f"; {error}"
    if copy is None:
        raise FreelightError(
            f"{output.where}: the manifest is lost ({reason}), so the classes, the source and the hashes of the files "
            "are not known, and nothing is guessed; give `copy`, another copy of the dataset"
        )
    with output.scratch() as folder:
        fetch_file(copy, MANIFEST, folder / MANIFEST, sha256=None, limit=MAX_FILE, **_of_copy(output, copy))
        manifest = Manifest.load(folder)
        sound = manifest.to_bytes() == (folder / MANIFEST).read_bytes()
    shards = (shard for split in manifest.splits.values() for shard in split.shards)
    if not sound or not any(output.sha256(shard.name) == shard.sha256 for shard in shards):
        raise FreelightError(
            f"{copy} is damaged, or no copy of {output.where}: they have no shard in common; give another copy"
        )
    return manifest, fault


def _of_copy(output: Output, copy: str) -> dict[str, Any]:
    """Return the remedy and the options of a copy, as `fetch_file` takes them."""
    return {"remedy": "give another copy", "options": output.options if "://" in copy else None}


def _find_changed(output: Output, expected: dict[str, str], run: Run, watch: Watch) -> set[str]:
    """Return the names of the files that are missing, or have another hash. expected: their hashes by name."""
    with contextlib.closing(run(functools.partial(_is_same, output), list(expected.items()))) as found:
        return {name for name, is_same in watch(found, len(expected)) if not is_same}


def _is_same(output: Output, expected: tuple[str, str]) -> tuple[str, bool]:
    """Return the name of a file, and whether it has its hash. What comes from a store may be damaged on the way."""
    name, sha256 = expected
    return name, output.sha256(name) == sha256 or (output.url is not None and output.sha256(name) == sha256)


def _repair_shards(
    shards: list[ShardInfo], output: Output, copy: str | None, origin: Origin | None, run: Run, watch: Watch
) -> list[str]:
    """Copy shards, or make them again from the source; return a line for each.

    Raises `FreelightError` at the first one that does not get the bytes of the manifest.
    """
    if not shards:
        return []
    bare, settings = None, None
    if origin is not None:
        source, settings = origin.ready
        bare = replace(source, splits={}, left_out=())  # without the lists: each task goes to a worker
    tasks = origin.tasks if origin is not None else {}
    jobs = [(shard, tasks.get(shard.name)) for shard in shards if copy is not None or shard.name in tasks]
    repaired = []
    repair = functools.partial(_repair_shard, output, copy, bare, settings)
    with contextlib.closing(run(repair, jobs)) as found:
        for name, how, reasons in watch(found, len(jobs)):
            if not how:
                raise FreelightError(describe_failure(f"{output.where}/{name}", reasons, copy, origin))
            repaired.append(f"{name} is {how}")
    for shard in shards:
        if copy is None and shard.name not in tasks:
            reasons = [] if origin is None else [NOT_OF_SOURCE]
            raise FreelightError(describe_failure(f"{output.where}/{shard.name}", reasons, copy, origin))
    return repaired


def _repair_shard(
    output: Output,
    copy: str | None,
    source: Source | None,
    settings: ShardSettings | None,
    job: tuple[ShardInfo, ShardTask | None],
) -> tuple[str, str, list[str]]:
    """Repair one shard; return its name, how it was done, or "", and the reasons why other ways failed."""
    shard, task = job
    reasons = []
    with output.scratch() as folder:
        path = folder / shard.name
        if copy is not None:
            try:
                fetch_file(copy, shard.name, path, sha256=shard.sha256, limit=shard.bytes, **_of_copy(output, copy))
                output.put(path)
                return shard.name, f"copied from {copy}", []
            except FreelightError as error:
                reasons.append(str(error))
        if source is not None and settings is not None and task is not None:
            if write_shard(source, task, settings, folder, lambda name: None).sha256 == shard.sha256:
                output.put(path)
                return shard.name, AGAIN, []
            reasons.append(OTHER_BYTES)
        elif source is not None:
            reasons.append(NOT_OF_SOURCE)
    return shard.name, "", reasons
