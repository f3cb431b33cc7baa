"""Append pictures to a finished dataset, as further shards of its splits or as a split of their own."""

import functools
import shutil
from dataclasses import replace
from pathlib import Path

from ..base import CountOrAuto, FreelightError, StorageOptions, run_tasks
from ..dataset import Manifest, check_presence
from ..sources import OrderedSource, RescaledSegment, Source
from .finishing import finish_dataset
from .making import Job, Watch, changes_since, segments_in
from .output import open_output, refuse_output_within
from .parent import Parent
from .part import as_part, deal_part, describe_part
from .plan import PARENT, PARTIAL, PLAN, lock_folder, read_plan, save_or_check_plan, source_times
from .rejects import RejectLimit
from .settings import VERSIONS, ShardSettings
from .shard import ShardRecord


def append_shards(
    source: Source | OrderedSource,
    out: Path | str,
    settings: ShardSettings,
    *,
    split: str | None = None,
    workers: CountOrAuto = 1,
    cluster: str | None = None,
    staging: Path | None = None,
    storage_options: StorageOptions = None,
    max_rejected: float | None = None,
    watch: "Watch[ShardRecord] | None" = None,
    watch_ordered: "Watch[RescaledSegment] | None" = None,
) -> Manifest:
    """Append the pictures of `source` to the finished dataset `out`; or finish what a stopped run began to append.

    The shards of before stay as they are, and further ones follow. The new pictures are shuffled among themselves. A
    class gets the label that it has in the dataset. The dataset gets another fingerprint; its manifest keeps that of
    before, and `Dataset.part` opens it as it was. Its statistics are then of the dataset before.

    settings: those of the dataset; versions of libraries may differ. split: name for the pictures of a source that has
    only train; None keeps the names. Other arguments as in `make_shards`.

    Raises `FreelightError` for other settings, for a class that the dataset lacks, and as `make_shards`.
    """
    refuse_output_within(source, out)
    if "://" not in str(out):
        Manifest.load(Path(out).absolute())  # no folder is made where there is no dataset
    with open_output(out, storage_options) as output, lock_folder(output.folder / PARTIAL), output.locked() as check:
        source = replace(source, root=source.root.absolute())
        parent = Parent.read(output)
        before = parent.manifest
        if before.schema == 1 or any(info.indexed for info in before.splits.values()):
            raise FreelightError(
                f"{output.where} is of version 0.1, or has tars of other people; make it again to append"
            )
        source, described = describe_part(source, split)
        if described in [{name: part.source.get(name) for name in described} for part in before.appended]:
            check_presence(before, output.sizes(), output.where, remedy="mend that with `repair`")
            output.remove(PARTIAL)  # left by a stop after the manifest was written
            return before
        if described["listing"] == before.source.get("listing"):
            raise FreelightError(f"the pictures of {source.root} are in {output.where} already; append other ones")
        if settings.samples_per_shard is None:
            settings = replace(settings, samples_per_shard=before.made_with["samples_per_shard"])
        if changes := changes_since(before.made_with, settings.made_with(), but=VERSIONS):
            raise FreelightError(f"{output.where} was made with other settings ({changes}); append with the same ones")
        plan = {**settings.made_with(), **described, PARENT: before.fingerprint, "times": source_times(source)}
        if (output.folder / PARTIAL / PLAN).exists() and PARENT not in read_plan(output.folder / PARTIAL):
            (output.folder / PARTIAL / PLAN).unlink()  # left by a stop after the dataset's manifest was written
        settings = replace(settings, freelight=save_or_check_plan(output.folder, plan)["freelight"])
        output.publish(f"{PARTIAL}/{PLAN}")
        job = Job(
            output=output,
            run=functools.partial(run_tasks, workers=workers, cluster=cluster),
            limit=RejectLimit(max_rejected),
            watch=watch or (lambda items, total: items),
            watch_ordered=watch_ordered or (lambda items, total: items),
        )
        segments = segments_in(staging, source, output, {**plan, "freelight": settings.freelight})
        if isinstance(source, OrderedSource):
            source = job.rescale_in_order(source, settings, segments)
        source = as_part(source, before, split)
        tasks = deal_part(source, settings, before)
        records = job.write_missing(source, settings, tasks, check)
        manifest = finish_dataset(source, output, settings, described, tasks, records, parent)
        shutil.rmtree(segments, ignore_errors=True)
        output.remove(PARTIAL)
    return manifest
