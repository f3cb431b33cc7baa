"""Make a dataset directory: deal the source's images to shards, write them, and write the manifest last."""

import functools
import hashlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..base.atomic import atomic_write
from ..base.errors import FreelightError
from ..base.executor import run_tasks
from ..dataset.directory import MANIFEST, REJECTED, SAMPLE, Manifest, ShardInfo, SplitInfo
from ..sources.listing import Source
from ..sources.ordered import OrderedSource, Staged, stage
from .output import Output, open_output
from .plan import PARTIAL, PLAN, begin, describe_source, difference, exclusive, source_times
from .rejects import Budget
from .settings import ShardSettings
from .shard import ShardRecord, ShardTask, write_shard

STAGED = "staged"
Done = TypeVar("Done", Staged, ShardRecord)
# (what is finished as it comes, images to do or None where that is not known) -> the same, watched.
Watch = Callable[[Iterable[Done], int | None], Iterable[Done]]
Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def spread(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the least, the most and the mean of the numbers of samples of the classes."""
    return {"min": int(counts.min()), "max": int(counts.max()), "mean": round(float(counts.mean()), 1)}


def deal_shards(source: Source, settings: ShardSettings) -> list[ShardTask]:
    """Shuffle each split globally, by the seed and the split's name alone, and cut it into shards."""
    tasks = []
    size = settings.resolve(source).samples_per_shard
    assert size is not None
    for split, images in source.splits.items():
        order = np.random.Generator(np.random.Philox((settings.seed, *split.encode()))).permutation(len(images))
        order = order[: settings.limit]
        for shard, first in enumerate(range(0, len(order), size)):
            chosen = tuple(images[index] for index in order[first : first + size])
            tasks.append(ShardTask(split, shard, first, chosen))
    return tasks


def make_shards(
    source: Source | OrderedSource,
    out: Path | str,
    settings: ShardSettings,
    *,
    workers: int = 1,
    cluster: str | None = None,
    staging: Path | None = None,
    max_rejected: float | None = None,
    watch: "Watch[ShardRecord] | None" = None,
    watch_staging: "Watch[Staged] | None" = None,
) -> Manifest:
    """Write the dataset directory `out`, or finish one that was begun with the same source and settings.

    `out` may be an fsspec URL: each shard is made locally and put whole; that one run alone writes there is then the
    caller's to see to.
    A finished shard has a record under `out/.partial`; a restart redoes only those without. `watch(records, total)`
    sees every record as it is finished (`total`: images to do), for a progress bar. An ordered source is staged first,
    under `watch_staging`: within `out`, or below the folder `staging`, which a URL needs and which must outlive the
    run to be resumed. workers, cluster: as in `run_tasks`. max_rejected: how many images may be left out, a share
    of all where it is below 1; None: any number.
    Raises `FreelightError` when that is exceeded, when `out` holds something else or another run writes it, or when
    nothing of a split can be decoded.
    """
    with open_output(out) as output:
        return _make(
            replace(source, root=source.root.absolute()),  # a cluster's workers start elsewhere
            output,
            settings,
            staging,
            functools.partial(run_tasks, workers=workers, cluster=cluster),
            Budget(max_rejected),
            watch or (lambda items, total: items),
            watch_staging or (lambda items, total: items),
        )


def _make(
    source: Source | OrderedSource,
    output: Output,
    settings: ShardSettings,
    staging: Path | None,
    run: Run,
    budget: Budget,
    watch: "Watch[ShardRecord]",
    watch_staging: "Watch[Staged]",
) -> Manifest:
    out = output.folder
    if source.layout in ("folders", "kaggle") and out.resolve().is_relative_to(source.root.resolve()):
        raise FreelightError(f"--out {out} lies within --images {source.root}, which would list it; choose another")
    described = describe_source(source)
    if (out / MANIFEST).exists():
        return _finished(source, output, settings, described)
    with exclusive(out) as partial:
        plan_settings = settings if isinstance(source, OrderedSource) else settings.resolve(source)
        plan = {**plan_settings.made_with(), **described, "times": source_times(source)}
        begin(out, plan)
        output.publish(f"{PARTIAL}/{PLAN}")
        staged = partial / STAGED
        if isinstance(source, OrderedSource):
            if output.url is not None or staging is not None:
                staged = _named_staging_area(source, output, staging, plan)
            source = stage(
                source,
                settings.rescaling,
                staged,
                run=run,
                watch=lambda items: watch_staging(budget.check(items, None), None),
            )
        settings = settings.resolve(source)
        tasks = deal_shards(source, settings)
        records = _write(source, output, settings, tasks, run, budget, watch)
        manifest = _finish(source, output, settings, described, tasks, records)
        shutil.rmtree(staged, ignore_errors=True)
        output.remove(PARTIAL)
    return manifest


def _named_staging_area(source: OrderedSource, output: Output, staging: Path | None, plan: dict[str, object]) -> Path:
    """Return the folder below `staging` of just this job: the same after a restart, another with other settings."""
    if staging is None:
        raise FreelightError(
            f"layout {source.layout} is read once, through a staging area, which cannot be at {output.url}: name a "
            "folder for it, --staging DIR, and the same one again to resume"
        )
    job = json.dumps([output.url or str(output.folder), plan])
    return staging.absolute() / hashlib.sha256(job.encode()).hexdigest()[:16]


def _finished(
    source: Source | OrderedSource, output: Output, settings: ShardSettings, described: dict[str, object]
) -> Manifest:
    """Return the manifest of a finished dataset, provided that it was made of this source with these settings."""
    manifest = Manifest.load(output.folder)
    if isinstance(source, Source):
        settings = settings.resolve(source)
    now = {**settings.made_with(), **described}
    before = {**manifest.made_with, **manifest.source}
    if settings.samples_per_shard is None:  # of an ordered source, which would have to be read to tell
        now["samples_per_shard"] = before["samples_per_shard"]
    if before != now:
        raise FreelightError(
            f"{output.url or output.folder} is a finished dataset with other settings or another source "
            f"({difference(before, now)}); choose another --out"
        )
    output.remove(PARTIAL)  # left by a stop after the manifest was written
    return manifest


def _write(
    source: Source,
    output: Output,
    settings: ShardSettings,
    tasks: list[ShardTask],
    run: Run,
    budget: Budget,
    watch: "Watch[ShardRecord]",
) -> dict[str, ShardRecord]:
    """Write the shards that have no record yet; return the records of all, by the shard's name."""
    records = {record.name: record for record in _load_records(output)}
    missing = [task for task in tasks if task.name not in records]
    # Without its lists, which every task would carry to its process: 100 MB for ImageNet.
    write = functools.partial(_write_and_record, replace(source, splits={}, left_out=()), settings, output)
    total = sum(len(task.images) for task in tasks)
    chain = itertools.chain(list(records.values()), run(write, missing))
    for record in watch(budget.check(chain, total + len(source.left_out), len(source.left_out)), total):
        records[record.name] = record
    return records


def _load_records(output: Output) -> Iterator[ShardRecord]:
    """Yield the records of shards that are there with their size; the others are made again."""
    for path in sorted((output.folder / PARTIAL).glob("*.record")):
        record = ShardRecord.load(path)
        if output.size(record.name) == record.bytes and output.size(record.index_name) is not None:
            yield record


def _write_and_record(source: Source, settings: ShardSettings, output: Output, task: ShardTask) -> ShardRecord:
    stem = Path(task.name).stem
    path = f"{PARTIAL}/{stem}.record"
    with output.writing(task.name, f"{stem}.idx", path) as folder:
        record = write_shard(source, task, settings.rescaling, folder)
        record.save(folder / path)
    return record


def _finish(
    source: Source,
    output: Output,
    settings: ShardSettings,
    described: dict[str, object],
    tasks: list[ShardTask],
    records: dict[str, ShardRecord],
) -> Manifest:
    """Write the tables, the rejects and at last the manifest."""
    by_split = {split: [records[task.name] for task in tasks if task.split == split] for split in source.splits}
    rejected = {
        split: [
            *(left._asdict() for left in source.left_out if left.split == split),
            *(reject for record in found for reject in record.rejected),
        ]
        for split, found in by_split.items()
    }
    lines = b"".join(json.dumps(reject).encode() + b"\n" for rejects in rejected.values() for reject in rejects)
    classes = len(source.classes)
    splits = {split: _finish_split(output, split, found, rejected[split], classes) for split, found in by_split.items()}
    with atomic_write(output.folder / REJECTED) as file:
        file.write(lines)
    manifest = Manifest(
        classes=source.classes,
        label_order=source.label_order,
        image_size=settings.rescaling.size,
        made_with=settings.made_with(),
        source=described,
        splits=splits,
        files={REJECTED: hashlib.sha256(lines).hexdigest()},
    )
    manifest.save(output.folder)
    output.publish(REJECTED, MANIFEST)
    return manifest


def _finish_split(
    output: Output, split: str, records: list[ShardRecord], rejected: list[dict[str, str]], classes: int
) -> SplitInfo:
    """Write the samples table and the list of sources of a split; drop shards in which nothing was left."""
    kept = [record for record in records if record.samples]
    if not kept:
        raise FreelightError(f"no image of the split {split!r} can be decoded; the first: {rejected[-1]}")
    for record in records:
        if not record.samples:
            output.remove(record.name)
            output.remove(record.index_name)
    rows = [
        (shard, sample.offset, sample.length, sample.label, sample.crc32)
        for shard, record in enumerate(kept)
        for sample in record.samples
    ]
    table = np.array(rows, dtype=SAMPLE)
    with atomic_write(output.folder / f"{split}.samples.npy") as file:
        np.save(file, table)
    paths = "".join(f"{sample.path}\n" for record in kept for sample in record.samples)
    with atomic_write(output.folder / f"{split}.sources.txt") as file:
        file.write(paths.encode(errors="surrogateescape"))
    files = {record.index_name: record.index_sha256 for record in kept}
    for name in (f"{split}.samples.npy", f"{split}.sources.txt"):
        output.publish(name)
        files[name] = hashlib.sha256((output.folder / name).read_bytes()).hexdigest()
    labelled = bool((table["label"] >= 0).all())
    counts = np.bincount(table["label"], minlength=classes) if labelled else None
    return SplitInfo(
        samples=len(rows),
        labelled=labelled,
        rejected=len(rejected),
        per_class=None if counts is None else spread(counts),
        kinds=dict(sorted(Counter(sample.kind for record in kept for sample in record.samples).items())),
        shards=tuple(ShardInfo(record.name, len(record.samples), record.bytes, record.sha256) for record in kept),
        files=files,
    )
