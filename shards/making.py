"""Make a dataset directory: deal the source's images to shards, write them, and write the manifest last."""

import functools
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

from .atomic import TEMPORARY_SUFFIX, atomic_write
from .dataset import MANIFEST, REJECTED, SAMPLE, Manifest, ShardInfo, SplitInfo
from .errors import FreelightError
from .executor import run_tasks
from .rescale import Rescaling
from .shard import ShardRecord, ShardTask, write_shard
from .sources import Source

# Records of finished shards live here until the manifest is written.
PARTIAL = ".partial"
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """What, beside the source, decides every byte of a dataset.

    samples_per_shard: None means a 32nd of the largest split, but 100 to 2,000: a small set still keeps workers busy,
    and ImageNet's 641 shards stay within the usual 1,024 open files. limit: keep at most so many images a split,
    after the shuffle.
    """

    rescaling: Rescaling = field(default_factory=Rescaling)
    samples_per_shard: int | None = None
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("--samples-per-shard", self.samples_per_shard, 1),
            ("--limit", self.limit, 1),
            ("--seed", self.seed, 0),
        ):
            if value is not None and value < least:
                raise FreelightError(f"{name} (={value}) must be at least {least}")

    def resolve(self, source: Source) -> "ShardSettings":
        """Return these settings with the number of samples per shard filled in."""
        largest = max(min(len(images), self.limit or len(images)) for images in source.splits.values())
        return replace(self, samples_per_shard=self.samples_per_shard or min(2000, max(100, math.ceil(largest / 32))))


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
    source: Source,
    out: Path,
    settings: ShardSettings,
    *,
    workers: int = 1,
    watch: Callable[[Iterable[ShardRecord], int], Iterable[ShardRecord]] = lambda records, total: records,
) -> Manifest:
    """Write the dataset directory `out`, or finish one that was begun with the same source and settings.

    A finished shard has a record under `out/.partial`; a restart redoes only those without. `watch(records, total)`
    sees every record as it is finished (`total`: images to do), for a progress bar. Raises `FreelightError` when `out`
    holds something else, or when nothing of a split can be decoded.
    """
    settings = settings.resolve(source)
    made_with = _made_with(settings)
    tasks = deal_shards(source, settings)
    if (out / MANIFEST).exists():
        manifest = Manifest.load(out)
        before, now = {**manifest.made_with, **manifest.source}, {**made_with, **_describe(source)}
        if before != now:
            raise FreelightError(
                f"{out} is a finished dataset with other settings or another source ({_difference(before, now)}); "
                "choose another --out"
            )
        shutil.rmtree(out / PARTIAL, ignore_errors=True)  # left by a stop after the manifest was written
        return manifest
    partial = _begin(out, {**made_with, **_describe(source), "times": _digest(source, times=True)})
    records = {path.stem: ShardRecord.load(path) for path in sorted(partial.glob("*.record"))}
    missing = [task for task in tasks if Path(task.name).stem not in records]
    # Without its lists, which every task would carry to its process: 100 MB for ImageNet.
    write = functools.partial(_write_and_record, replace(source, splits={}), settings.rescaling, out)
    fresh = run_tasks(write, missing, workers=workers)
    for record in watch(_chain(list(records.values()), fresh), sum(len(task.images) for task in tasks)):
        records[f"{record.split}-{record.shard:06d}"] = record
    by_split = {
        split: [records[Path(task.name).stem] for task in tasks if task.split == split] for split in source.splits
    }
    manifest = Manifest(
        classes=source.classes,
        label_order="sorted id",
        image_size=settings.rescaling.size,
        made_with=made_with,
        source=_describe(source),
        splits={split: _finish_split(out, split, found) for split, found in by_split.items()},
    )
    with atomic_write(out / REJECTED) as file:
        for found in by_split.values():
            for record in found:
                file.writelines(json.dumps(reject).encode() + b"\n" for reject in record.rejected)
    manifest.save(out)
    shutil.rmtree(partial)
    return manifest


def _chain(done: list[ShardRecord], fresh: Iterable[ShardRecord]) -> Iterator[ShardRecord]:
    yield from done
    yield from fresh


def _write_and_record(source: Source, rescaling: Rescaling, out: Path, task: ShardTask) -> ShardRecord:
    record = write_shard(source, task, rescaling, out)
    record.save(out / PARTIAL / f"{Path(task.name).stem}.record")
    return record


def _made_with(settings: ShardSettings) -> dict[str, Any]:
    return {
        **asdict(settings.rescaling),
        "seed": settings.seed,
        "limit": settings.limit,
        "samples_per_shard": settings.samples_per_shard,
        "freelight": metadata.version("freelight"),
        "pillow": PIL.__version__,
        "libjpeg": features.version("libjpeg_turbo") or features.version("jpg"),
    }


def _describe(source: Source) -> dict[str, Any]:
    counts = {split: len(images) for split, images in source.splits.items()}
    return {
        "layout": source.layout,
        "name": source.root.resolve().name,
        "images": counts,
        "listing": _digest(source, times=False),
    }


def _digest(source: Source, *, times: bool) -> str:
    """Hash the classes and the pictures' paths, labels and sizes.

    With `times`, which a copy of the source does not share, theirs too: tells when the source changes between a stop
    and a restart.
    """
    digest = hashlib.sha256()
    for info in source.classes:
        digest.update(f"{info.id}\0{info.name}\n".encode(errors="surrogateescape"))
    for split, images in source.splits.items():
        for image in images:
            fields = (split, image.path, image.label, image.bytes, *((image.mtime_ns,) if times else ()))
            digest.update(("\0".join(map(str, fields)) + "\n").encode(errors="surrogateescape"))
    return digest.hexdigest()


# What it means that a hash differs.
_HASHES = {
    "listing": "other classes, or pictures of other paths or sizes",
    "times": "pictures written at other times",
}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    changed = [key for key in now if before.get(key) != now.get(key)]
    return "; ".join(_HASHES.get(key) or f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in changed)


def _begin(out: Path, plan: dict[str, Any]) -> Path:
    """Return the folder of records, made or found; refuse an `out` that was begun otherwise or holds other files."""
    partial = out / PARTIAL
    path = partial / PLAN
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        if begun != plan:
            raise FreelightError(
                f"{out} was begun with other settings or another source "
                f"({_difference(begun, plan)}); "
                "give the same ones, or delete it, or choose another --out"
            )
        for leftover in out.glob(f"*{TEMPORARY_SUFFIX}"):
            leftover.unlink()
        return partial
    if out.exists() and any(entry.name != PARTIAL for entry in out.iterdir()):
        raise FreelightError(f"--out {out} is not empty and was not begun by make_shards; choose another")
    partial.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(plan, indent=1).encode())
    return partial


def _finish_split(out: Path, split: str, records: list[ShardRecord]) -> SplitInfo:
    """Write the samples table and the list of sources of a split; drop shards in which nothing was left."""
    kept = [record for record in records if record.samples]
    for record in records:
        if not record.samples:
            for suffix in ("tar", "idx"):
                (out / f"{split}-{record.shard:06d}.{suffix}").unlink(missing_ok=True)
    rejected = [reject for record in records for reject in record.rejected]
    if not kept:
        raise FreelightError(f"no image of the split {split!r} can be decoded; the first: {rejected[0]}")
    rows = [
        (shard, sample.offset, sample.length, sample.label, sample.crc32)
        for shard, record in enumerate(kept)
        for sample in record.samples
    ]
    with atomic_write(out / f"{split}.samples.npy") as file:
        np.save(file, np.array(rows, dtype=SAMPLE))
    paths = "".join(f"{sample.path}\n" for record in kept for sample in record.samples)
    with atomic_write(out / f"{split}.sources.txt") as file:
        file.write(paths.encode(errors="surrogateescape"))
    files = {f"{split}-{record.shard:06d}.idx": record.index_sha256 for record in kept}
    for name in (f"{split}.samples.npy", f"{split}.sources.txt"):
        files[name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
    return SplitInfo(
        samples=len(rows),
        labelled=True,
        rejected=len(rejected),
        shards=tuple(
            ShardInfo(f"{split}-{record.shard:06d}.tar", len(record.samples), record.bytes, record.sha256)
            for record in kept
        ),
        files=files,
    )
