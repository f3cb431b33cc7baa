"""Make a dataset directory: write a source's pictures to shards on any number of workers, and resume after a stop."""

import contextlib
import functools
import hashlib
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..base import CountOrAuto, FreelightError, StorageOptions, naming_pictures, noting_pictures, run_tasks
from ..dataset import MANIFEST, Manifest, check_presence
from ..sources import OrderedSource, RescaledSegment, Source, rescale_in_order
from .dealing import ShardTask, deal_shards
from .descriptions import INFO
from .finishing import finish_dataset
from .output import Output, open_output, refuse_output_within
from .plan import (
    PARTIAL,
    PLAN,
    describe_changes,
    describe_source,
    lock_output,
    refuse_begun_append,
    save_or_check_plan,
    source_times,
)
from .rejects import RejectLimit
from .settings import NOT_IN_0_1, ShardSettings, as_in_0_1, same_version
from .shard import ShardRecord, write_shard

SEGMENTS = "staged"  # folder within PARTIAL; the name is that of version 0.1, whose unfinished datasets are resumed
Done = TypeVar("Done", RescaledSegment, ShardRecord)
# (finished items, number of all images or None if it is not known) -> the same items, for a progress bar.
Watch = Callable[[Iterable[Done], int | None], Iterable[Done]]


def make_shards(
    source: Source | OrderedSource,
    out: Path | str,
    settings: ShardSettings,
    *,
    workers: CountOrAuto = 1,
    cluster: str | None = None,
    staging: Path | None = None,
    storage_options: StorageOptions = None,
    max_rejected: float | None = None,
    watch: "Watch[ShardRecord] | None" = None,
    watch_ordered: "Watch[RescaledSegment] | None" = None,
) -> Manifest:
    """Write the dataset directory `out`, or finish one that was started with the same source and settings.

    A finished shard has a record under `out/.partial`; a restart writes only the shards without one. An ordered source
    is first read once, and its rescaled pictures are kept in segments until the shards are written.

    out: a folder, or an fsspec URL, to which each finished shard is uploaded while the next ones are made. workers,
    cluster: as in `run_tasks`. staging: folder for the segments of an ordered source; by default they are kept in
    `out`. A URL needs it, and a restart needs the same one. storage_options: as of `Dataset`. max_rejected: maximum
    number of images that may be left out: a count, or a share of all images if below 1; None allows any number.
    watch, watch_ordered: get the records of finished shards, or the finished segments, and yield the same ones, for
    example to show a progress bar.

    Raises `FreelightError` if too many images are rejected, if `out` holds something else, if another run writes it, or
    if no image of a split decodes.
    """
    refuse_output_within(source, out)
    with open_output(out, storage_options) as output:
        source = replace(source, root=source.root.absolute())  # a cluster's workers have other working folders
        folder = output.folder
        described = describe_source(source)
        refuse_begun_append(folder / PARTIAL)
        if (folder / MANIFEST).exists():
            return _check_finished(source, output, settings, described)
        if (folder / INFO).exists() and not (folder / PARTIAL / PLAN).exists():
            raise FreelightError(f"{output.where} has lost its {MANIFEST}; write it again with `repair`")
        job = Job(
            output=output,
            run=functools.partial(run_tasks, workers=workers, cluster=cluster),
            limit=RejectLimit(max_rejected),
            watch=watch or (lambda items, total: items),
            watch_ordered=watch_ordered or (lambda items, total: items),
        )
        return job.make(source, settings, described, staging)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of `make_shards` that has something to write. It writes shards, and rescales an ordered source first."""

    output: Output
    run: Callable[..., Generator[Any, None, None]]
    limit: RejectLimit
    watch: "Watch[ShardRecord]"
    watch_ordered: "Watch[RescaledSegment]"

    def make(
        self,
        source: Source | OrderedSource,
        settings: ShardSettings,
        described: dict[str, Any],
        staging: Path | None,
    ) -> Manifest:
        output = self.output
        with lock_output(output.folder), output.locked() as check:
            plan_settings = settings if isinstance(source, OrderedSource) else settings.resolve(source)
            plan = {**plan_settings.made_with(), **described, "times": source_times(source)}
            begun = save_or_check_plan(output.folder, plan)
            settings = replace(settings, schema=begun["schema"], freelight=begun["freelight"])
            output.publish(f"{PARTIAL}/{PLAN}")
            segments = segments_in(staging, source, output, {**plan, "freelight": settings.freelight})
            if isinstance(source, OrderedSource):
                source = self.rescale_in_order(source, settings, segments)
            settings = settings.resolve(source)
            tasks = deal_shards(source, settings)
            records = self.write_missing(source, settings, tasks, check)
            manifest = finish_dataset(source, output, settings, described, tasks, records)
            shutil.rmtree(segments, ignore_errors=True)
            output.remove(PARTIAL)
        return manifest

    def rescale_in_order(self, source: OrderedSource, settings: ShardSettings, folder: Path) -> Source:
        """Rescale an ordered source into segments in `folder`."""

        def watch(items: Iterable[RescaledSegment]) -> Iterable[RescaledSegment]:
            return self.watch_ordered(self.limit.check(items, None), None)

        with naming_pictures(folder):
            return rescale_in_order(source, settings.rescaling, folder, run=self.run, watch=watch)

    def write_missing(
        self, source: Source, settings: ShardSettings, tasks: list[ShardTask], check: Callable[[], None]
    ) -> dict[str, ShardRecord]:
        """Write the shards that have no record yet; return the records of all, by the shard's file name.

        check: as of `Output.locked`; called after each shard.
        """
        records = {record.name: record for record in _load_records(self.output, tasks)}
        missing = [task for task in tasks if task.name not in records]
        # Without its lists: each task would carry them to its process, 100 MB for ImageNet.
        bare = replace(source, splits={}, left_out=())
        write = functools.partial(_write_and_record, bare, settings, self.output)
        total = sum(len(task.images) for task in tasks)
        then = None if self.output.url is None else functools.partial(_upload, self.output)
        # Closed before a temporary `output.folder` is removed: the workers write there.
        with (
            naming_pictures(self.output.folder / PARTIAL),
            contextlib.closing(self.run(write, missing, then=then)) as fresh,
        ):
            finished = itertools.chain(list(records.values()), (shard.record for shard in fresh))
            for record in self.watch(self.limit.check(finished, total + len(source.left_out), source.left_out), total):
                records[record.name] = record
                check()
        return records


def segments_in(staging: Path | None, source: Source | OrderedSource, output: Output, plan: dict[str, object]) -> Path:
    """Return this job's folder for the segments of an ordered source, in the output or below `staging`.

    A restart finds the same one; other settings get another.
    """
    if not isinstance(source, OrderedSource) or (output.url is None and staging is None):
        return output.folder / PARTIAL / SEGMENTS
    if staging is None:
        raise FreelightError(
            f"layout {source.layout} can only be read in order, so it cannot be written to {output.url} directly; "
            "give `staging`, a local folder for its rescaled pictures, and give the same folder again to resume"
        )
    job = json.dumps([str(output.where), as_in_0_1(plan)])
    return staging.absolute() / hashlib.sha256(job.encode()).hexdigest()[:16]


def _check_finished(
    source: Source | OrderedSource, output: Output, settings: ShardSettings, described: dict[str, Any]
) -> Manifest:
    """Return the manifest of a finished dataset.

    Raises `FreelightError` for another source or other settings, and if a file is missing or a shard is cut short.
    """
    manifest = Manifest.load(output.folder)
    settings = settings.resolve(source) if isinstance(source, Source) else settings
    settings = replace(settings, freelight=same_version(manifest.made_with.get("freelight")))
    if changes := changes_since({**manifest.made_with, **manifest.source}, {**settings.made_with(), **described}):
        raise FreelightError(
            f"{output.where} is a finished dataset with other settings or another source ({changes}); "
            "choose another `out`"
        )
    check_presence(manifest, output.sizes(), output.where, remedy="mend that with `repair`")
    output.remove(PARTIAL)  # left by a stop after the manifest was written
    return manifest


def changes_since(then: dict[str, Any], now: dict[str, Any], *, but: Iterable[str] = ()) -> str:
    """Return in words what is not as a manifest says; "" if nothing is.

    then: settings of the manifest, and its source if that is compared. but: names that are not compared. A number of
    samples per shard that is not known yet, the default for an ordered source, is not compared either.
    """
    then, now = {**NOT_IN_0_1, **then}, dict(now)
    # The notes and the suspect pictures follow from the pictures, whose listing is compared.
    for name in ("notes", "suspect", *but):
        then.pop(name, None)
        now.pop(name, None)
    if now["samples_per_shard"] is None:
        now["samples_per_shard"] = then["samples_per_shard"]
    return (describe_changes(then, now) or "other settings") if then != now else ""


def _load_records(output: Output, tasks: list[ShardTask]) -> Iterator[ShardRecord]:
    """Yield the records of shards whose files exist with the right size. The other shards are written again."""
    sizes = output.sizes()
    for task in tasks:
        path = output.folder / _record_name(task)
        if path.exists():
            record = ShardRecord.load(path, task)
            if sizes.get(record.name) == record.bytes and record.index_name in sizes:
                yield record


class Written(NamedTuple):
    """A shard that was written to `folder`."""

    record: ShardRecord
    folder: Path


def _write_and_record(source: Source, settings: ShardSettings, output: Output, task: ShardTask) -> Written:
    path = _record_name(task)
    with output.new_folder() as folder:
        with noting_pictures(folder / path) as note:
            record = write_shard(source, task, settings, folder, note)
        record.save(folder / path)
    return Written(record, folder)


def _upload(output: Output, shard: Written, stop: threading.Event) -> Written:
    """Send a shard to the URL of the output, and its record last."""
    record = shard.record
    output.upload(shard.folder, record.name, record.index_name, _record_name(record), stop=stop)
    return shard


def _record_name(task: ShardTask | ShardRecord) -> str:
    """Return the name of a shard's record in the output."""
    return f"{PARTIAL}/{Path(task.name).stem}.record"
