"""The dataset directory: the one contract between the offline tools, the pipeline and the trainer.

`dataset.json` is written last, so a folder that has one is finished. Any sample is one `pread` away.
"""

import functools
import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.atomic import atomic_write
from ..base.errors import FreelightError
from ..sources.listing import ClassInfo
from .cache import ShardCache

MANIFEST = "dataset.json"
SCHEMA = 1
OPEN_FILES = 512  # at most so many shards at a time; the usual limit of a process is 1,024
REJECTED = "rejected.jsonl"

# One row a sample: which shard, where its JPEG lies in it (bytes), its label, and the JPEG's crc32.
SAMPLE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("label", "<i4"), ("crc32", "<u4")])


@dataclass(frozen=True)
class ShardInfo:
    """A shard as the manifest lists it: file name, samples, bytes, sha256 of the tar."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitInfo:
    """A split as the manifest lists it.

    labelled: False where labels are -1. per_class: min, max and mean number of samples, None without labels.
    kinds: samples that were "colour", "greyscale" or "cmyk" in the source.
    files: maps each other file of the split to its sha256.
    """

    samples: int
    labelled: bool
    rejected: int
    per_class: dict[str, float] | None
    kinds: dict[str, int]
    shards: tuple[ShardInfo, ...]
    files: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """The contents of `dataset.json`: classes in label order, image size in pixels, how it was made, the splits.

    label_order: "wnid" (sorted ids) or "ilsvrc" (the devkit's). files: sha256 of files that are no split's.
    """

    classes: tuple[ClassInfo, ...]
    label_order: str
    image_size: int
    made_with: dict[str, Any]
    source: dict[str, Any]
    splits: dict[str, SplitInfo]
    files: dict[str, str]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Name the data, wherever it lies: a hash of the class ids and of every shard's sha256, in order."""
        shards = {name: [shard.sha256 for shard in split.shards] for name, split in self.splits.items()}
        facts = [[info.id for info in self.classes], self.image_size, shards]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `dataset.json` into `folder`, atomically."""
        with atomic_write(folder / MANIFEST) as file:
            file.write(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the contents of `dataset.json`, which end in a hash of themselves: one flipped byte shows."""
        content = {"schema": SCHEMA, **asdict(self)}
        content["sha256"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read `dataset.json`. Raises `FreelightError` when there is none, or it is of another schema."""
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FreelightError(
                f"{folder} is not a finished dataset (no {MANIFEST}); make it with: make_shards --out {folder}"
            ) from None
        except ValueError as error:
            raise FreelightError(f"{path} is not valid JSON ({error}); make the dataset again") from None
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise FreelightError(f"{path} is not of schema {SCHEMA}, which this version reads; make the dataset again")
        content.pop("sha256", None)  # verify_shards looks at it
        try:
            content["classes"] = tuple(ClassInfo(**info) for info in content["classes"])
            content["splits"] = {
                name: SplitInfo(**{**split, "shards": tuple(ShardInfo(**shard) for shard in split["shards"])})
                for name, split in content["splits"].items()
            }
            return cls(**content)
        except (AttributeError, KeyError, TypeError) as error:
            raise FreelightError(f"{path} lacks a part or has one too many ({error}); make the dataset again") from None


class Split:
    """One split of a dataset: `samples` is its table (dtype `SAMPLE`), `read(i)` the checked JPEG bytes of sample i."""

    def __init__(self, folder: Path, name: str, info: SplitInfo, cache: ShardCache | None = None) -> None:
        self.folder = folder
        self.name = name
        self.info = info
        self.cache = cache
        if cache is not None:
            for file, sha256 in info.files.items():
                cache.fetch(file, sha256=sha256)
        path = folder / f"{name}.samples.npy"
        if not path.is_file():
            raise FreelightError(f"{path} is missing; make the dataset again")
        try:
            self.samples: npt.NDArray[np.void] = np.load(path)
        except (EOFError, ValueError) as error:
            raise FreelightError(f"{path} cannot be read ({error}); make the dataset again") from None
        if self.samples.dtype != SAMPLE or len(self.samples) != info.samples:
            raise FreelightError(f"{path} does not match the manifest ({info.samples} samples); make the dataset again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != info.files.get(path.name):
            raise FreelightError(f"{path} was changed after it was written; copy it back, or make the dataset again")
        self._files: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.samples)

    @functools.cached_property
    def sources(self) -> list[str]:
        """The source path of each sample, in sample order."""
        data = (self.folder / f"{self.name}.sources.txt").read_bytes()
        return data.decode(errors="surrogateescape").split("\n")[:-1]  # file names may hold any other line break

    def key(self, index: int) -> str:
        """Return the WebDataset key of sample `index`, as it stands in its shard's `.idx`."""
        index = range(len(self))[index]
        shard = int(self.samples["shard"][index])
        first = int(np.searchsorted(self.samples["shard"], shard))
        lines = (self.folder / self.info.shards[shard].name).with_suffix(".idx").read_text().splitlines()
        return lines[1 + index - first].split()[-1].split(".")[0]

    def read(self, index: int) -> bytes:
        """Return the JPEG bytes of sample `index`; `FreelightError` if the shard is cut short or the bytes differ."""
        row = self.samples[index]
        shard, length = int(row["shard"]), int(row["length"])
        data = os.pread(self._descriptor(shard), length, int(row["offset"]))
        if len(data) != length or zlib.crc32(data) != row["crc32"]:
            fault = f"cut short ({len(data)} of {length} bytes)" if len(data) != length else "changed (crc32 differs)"
            raise FreelightError(f"{self.describe(index)} is {fault}; delete the folder and make the dataset again")
        return data

    def describe(self, index: int) -> str:
        """Name a sample for people: its shard, key and source path."""
        shard = self.info.shards[int(self.samples["shard"][index])].name
        return f"{self.folder / shard}: sample {self.key(index)} (from {self.sources[index]})"

    def announce(self, indices: npt.NDArray[np.int32]) -> None:
        """Tell the kernel that these samples will be read soon, so that cold storage, or the network, works ahead."""
        if self.cache is not None:
            for shard in np.unique(self.samples["shard"][indices]).tolist():
                info = self.info.shards[shard]
                self.cache.stage(info.name, info.bytes, info.sha256)
            return
        for shard, offset, length in self.samples[["shard", "offset", "length"]][indices].tolist():
            os.posix_fadvise(self._descriptor(shard), offset, length, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Close the shards' file descriptors, and end background fetches; a later `read` opens them again."""
        while self._files:
            os.close(self._files.popitem()[1])
        if self.cache is not None:
            self.cache.close()

    def _descriptor(self, shard: int) -> int:
        if shard not in self._files:
            while len(self._files) >= OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[shard] = self._open(self.info.shards[shard])
        return self._files[shard]

    def _open(self, info: ShardInfo) -> int:
        if self.cache is not None:
            return self.cache.open_shard(info.name, info.bytes, info.sha256)
        path = self.folder / info.name
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise FreelightError(f"{path} is missing, though the manifest lists it; copy it back") from None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # a descriptor means another file in another process

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()


class Dataset:
    """A finished dataset directory: its `manifest`, and its splits by name.

    folder: a path, or a URL that fsspec reads (s3://…); then shards are staged ahead of their use into the local folder
    `cache`, at most `cache_bytes` of them. Read such a dataset in `sequential` order, or give the cache its whole size:
    a global order asks for every shard all the time.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, cache: str | os.PathLike[str] | None = None, cache_bytes: int = 10**11
    ) -> None:
        self.cache: ShardCache | None = None
        self.folder = Path(folder)
        if "://" in str(folder):
            if cache is None:
                raise FreelightError(f"{folder} is remote: name a local folder to keep its shards in (cache)")
            self.cache = ShardCache(
                str(folder),
                Path(cache),
                cache_bytes,
                manifest=MANIFEST,
                optional=("statistics.npz", "statistics.json"),
            )
            self.folder = self.cache.folder
        self.manifest = Manifest.load(self.folder)

    @property
    def image_size(self) -> int:
        """Side of the square images, pixels."""
        return self.manifest.image_size

    @property
    def fingerprint(self) -> str:
        """`Manifest.fingerprint`."""
        return self.manifest.fingerprint

    def split(self, name: str) -> Split:
        """Open the split `name`. Raises `FreelightError` naming those that exist."""
        if name not in self.manifest.splits:
            raise FreelightError(f"{self.folder} has no split {name!r}; it has: {', '.join(self.manifest.splits)}")
        return Split(self.folder, name, self.manifest.splits[name], self.cache)
