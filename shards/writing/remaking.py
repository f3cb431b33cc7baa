"""Make a dataset's files again, all but shards: from another copy, from what is left of the dataset, or the source."""

import functools
import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..base import FreelightError, atomic_write, fetch_file
from ..dataset import (
    REJECTED,
    SUSPECT,
    Manifest,
    ShardInfo,
    SplitInfo,
    metadata_name,
    read_keys,
    samples_name,
    sources_name,
)
from ..sources import Source, SourceImage
from .dealing import ShardTask
from .descriptions import INFO, describe_dataset, earlier_info
from .finishing import list_rejects, metadata_of, samples_table, sources_text, to_lines
from .origin import AGAIN, Origin, Run, describe_failure
from .output import Output
from .rereading import reread_shard
from .settings import ShardSettings
from .shard import ShardRecord, WrittenSample, write_shard

MAX_FILE = 1 << 32
"""Maximum bytes of a file that is no shard."""
# How a file is made again, in words, and what does it.
Way = tuple[str, Callable[[], bytes]]


@dataclass(frozen=True, kw_only=True)
class Remaker:
    """Makes files of the dataset at `output` again, whose shards are all sound.

    copy: path or URL of another copy of the dataset. origin: what it was made from.
    """

    manifest: Manifest
    output: Output
    origin: Origin | None
    copy: str | None
    run: Run

    def remake(self, name: str, sha256: str) -> str:
        """Make a file again and put it into its place; say how. Raises `FreelightError` if its hash is not `sha256`."""
        reasons = []
        for how, make in self._ways(name):
            try:
                content = make()
            except FreelightError as error:
                reasons.append(str(error))
                continue
            if hashlib.sha256(content).hexdigest() == sha256:
                with self.output.scratch() as folder:
                    with atomic_write(folder / name) as file:
                        file.write(content)
                    self.output.put(folder / name)
                return how
            reasons.append(f"{how} it has other bytes")
        raise FreelightError(describe_failure(f"{self.output.where}/{name}", reasons, self.copy, self.origin))

    def _ways(self, name: str) -> Iterator[Way]:
        has_all_sources = self.origin is not None and not self.manifest.appended
        if self.copy is not None:
            yield f"copied from {self.copy}", functools.partial(self._fetch, name)
        if name in (described := describe_dataset(self.manifest)):
            yield "written again from the manifest", functools.partial(described.__getitem__, name)
        if name == INFO:
            yield "written again from the manifest", functools.partial(earlier_info, self.manifest)
        for split, info in self.manifest.splits.items():
            for number, shard in enumerate(info.shards):
                if name == info.index_name(split, number):
                    yield "made again from its shard", functools.partial(self._index, shard)
            if name in (samples_name(split), metadata_name(split)):
                yield "made again from the shards", functools.partial(self._table, name, info)
            if name == sources_name(split) and has_all_sources:
                yield AGAIN, functools.partial(self._list_sources, split)
        if name in (REJECTED, SUSPECT) and has_all_sources:
            yield AGAIN, functools.partial(self._list_faults, name)

    def _fetch(self, name: str) -> bytes:
        copy = str(self.copy)
        options = self.output.options if "://" in copy else None
        with self.output.scratch() as folder:
            fetch_file(
                copy, name, folder / name, sha256=None, limit=MAX_FILE, remedy="give another copy", options=options
            )
            return (folder / name).read_bytes()

    def _reread(self, shards: Iterable[ShardInfo]) -> list[tuple[bytes, list[WrittenSample]]]:
        """Return index and samples of each shard."""
        wanted = list(shards)
        found = dict(self.run(functools.partial(_reread, self.output), wanted))
        return [found[shard.name] for shard in wanted]

    def _index(self, shard: ShardInfo) -> bytes:
        return self._reread([shard])[0][0]

    def _table(self, name: str, info: SplitInfo) -> bytes:
        samples = [found for _, found in self._reread(info.shards)]
        is_metadata = name.endswith(metadata_name(""))
        buffer = io.BytesIO()
        np.save(buffer, metadata_of(samples) if is_metadata else samples_table(samples, self.manifest.schema))
        return buffer.getvalue()

    def _dealt(self, split: str) -> Iterator[tuple[ShardTask, list[SourceImage], list[SourceImage]]]:
        """Yield each shard of a split as it was dealt, with the pictures that became samples, and the others."""
        assert self.origin is not None
        info = self.manifest.splits[split]
        samples = {shard.name: (number, shard.samples) for number, shard in enumerate(info.shards)}
        for task in self.origin.tasks.values():
            if task.split != split:
                continue
            keys = set()
            if task.name in samples:
                number, count = samples[task.name]
                with self.output.reading(info.index_name(split, number), MAX_FILE) as index:
                    keys = {int(key.rpartition("-")[2]) for key in read_keys(index, count)}
            kept: list[SourceImage] = []
            rejected: list[SourceImage] = []
            for key, image in enumerate(task.images, task.first_key):
                (kept if key in keys else rejected).append(image)
            yield task, kept, rejected

    def _list_sources(self, split: str) -> bytes:
        return sources_text(image.path for _, kept, _ in self._dealt(split) for image in kept)

    def _list_faults(self, name: str) -> bytes:
        """Return `rejected.jsonl`, for which the rejected pictures are decoded, or `suspect.jsonl`: all pictures."""
        assert self.origin is not None
        source, settings = self.origin.ready
        tasks = list(self.origin.tasks.values())
        if name == REJECTED:
            dealt = itertools.chain.from_iterable(self._dealt(split) for split in source.splits)
            tasks = [replace(task, images=tuple(rejected)) for task, _, rejected in dealt]
        bare = replace(source, splits={}, left_out=())
        make = functools.partial(_make_again, bare, settings, self.output)
        found = {record.name: record for record in self.run(make, [task for task in tasks if task.images])}
        records = {
            split: [found[task.name] for task in tasks if task.split == split and task.name in found]
            for split in source.splits
        }
        if name == SUSPECT:
            return to_lines([line for record in records[split] for line in record.suspect] for split in records)
        return to_lines(list_rejects(source, split, [r.rejected for r in records[split]]) for split in records)


def _reread(output: Output, shard: ShardInfo) -> tuple[str, tuple[bytes, list[WrittenSample]]]:
    with output.reading(shard.name, shard.bytes) as path:
        return shard.name, reread_shard(path)


def _make_again(source: Source, settings: ShardSettings, output: Output, task: ShardTask) -> ShardRecord:
    """Write a shard, only to find out which of its pictures are rejected or suspect."""
    with output.scratch() as folder:
        return write_shard(source, task, settings, folder, lambda name: None)
