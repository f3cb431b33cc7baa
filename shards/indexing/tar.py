"""Index one tar: its samples table, DALI's index and the samples' names, then a record that it is finished."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..base import (
    Array,
    FreelightError,
    as_file_name,
    atomic_write,
    hash_file,
    integer,
    list_of,
    mapping,
    noting_pictures,
    nullable,
    one_of,
    plain_name,
    read_array,
    read_json,
    record,
    retry,
    sha256_text,
    text,
)
from ..dataset import DTYPES, SAMPLE, index_line, index_name, shard_name
from ..images import GZIP_MAGIC
from ..sources import UNLABELLED
from ..writing import PARTIAL
from .decoding import checked_by_decoding
from .field_tables import FieldCollector, TarField, TarTables
from .fields import FieldPlace
from .samples import LabelPlace, Sample, read_samples
from .stream import check_name, open_stream

CHECKS = ("crc", "decode")
MAX_RECORD = 1 << 30
"""Maximum size of a record, bytes. It lists the rejected samples of a tar, so a tar of nothing else makes it large."""
_WNID = re.compile(r"(?:^|/)(n\d{8})(?:_|$)")

# A row of a tar's table: where the picture and the `.json` lie, and the place of the label among the tar's labels.
ROW = np.dtype([*SAMPLE.descr, ("metadata_offset", "<u8"), ("metadata_length", "<u4")])


@dataclass(frozen=True)
class TarTask:
    """A tar to index: the `shard`-th of its split, as a path or as a name in the folder `base` of a store."""

    split: str
    shard: int
    tar: str
    base: str | None

    @property
    def name(self) -> str:
        """The name under which the dataset has it."""
        return shard_name(self.split, self.shard) if self.base is None else self.tar

    @property
    def index_name(self) -> str:
        """The name of its index."""
        return index_name(self.split, self.shard)

    def partial(self, suffix: str) -> str:
        """Return the name of a file that is needed until the dataset is finished."""
        return f"{PARTIAL}/{self.split}-{self.shard:06d}.{suffix}"

    def stamp(self) -> list[int] | None:
        """Return size and time of a file; a tar that changed is indexed again. None behind a URL."""
        if self.base is not None:
            return None
        status = os.stat(as_file_name(self.tar))
        return [status.st_size, status.st_mtime_ns]


_LISTED = list_of(record({"split": text(), "path": text(), "reason": text()}))
_COUNTS = mapping(integer())
_FIELD = record({"rows": integer(), "dtype": one_of("", *DTYPES), "shape": list_of(integer(least=1)), "key": text()})
_RECORD = record(
    {
        "tar": text(),
        "base": nullable(text()),
        "stamp": nullable(list_of(integer())),
        "bytes": integer(),
        "sha256": sha256_text,
        "samples": integer(),
        "labels": list_of(text()),
        "wnids": mapping(text()),
        "kinds": _COUNTS,
        "ignored": _COUNTS,
        "rejected": _LISTED,
        "files": mapping(sha256_text, keys=plain_name),
    },
    {"fields": mapping(_FIELD)},
)


@dataclass(frozen=True, kw_only=True)
class TarRecord:
    """What an indexed tar holds.

    labels: the texts of its samples' labels; the rows name them by their place. wnids: by label, the wnid with which
    the keys of all of its samples begin; "" if they differ. kinds, ignored: counts. files: sha256 by suffix. fields:
    what is in the fields, by name.
    """

    tar: str
    base: str | None
    stamp: list[int] | None
    bytes: int
    sha256: str
    samples: int
    labels: list[str]
    wnids: dict[str, str]
    kinds: dict[str, int]
    ignored: dict[str, int]
    rejected: tuple[dict[str, str], ...]
    files: dict[str, str]
    fields: dict[str, TarField]

    @property
    def images(self) -> int:
        """Number of samples that were looked at."""
        return self.samples + len(self.rejected)

    @classmethod
    def load(cls, folder: Path, task: TarTask) -> "TarRecord | None":
        """Return the record of a tar that an earlier run indexed; None if there is none, or if the tar changed.

        Raises `FreelightError` if one of its files is damaged.
        """
        path, remedy = folder / task.partial("record"), f"delete {folder} and start again"
        try:
            found = read_json(path, _RECORD, remedy=remedy, limit=MAX_RECORD)
        except FileNotFoundError:
            return None
        fields = {
            name: TarField(**{**table, "shape": tuple(table["shape"])})
            for name, table in found.get("fields", {}).items()
        }
        known = cls(**{**found, "rejected": tuple(found["rejected"]), "fields": fields})
        if (known.tar, known.base, known.stamp) != (task.tar, task.base, task.stamp()):
            return None
        for suffix, sha256 in known.files.items():
            file = folder / (task.index_name if suffix == "idx" else task.partial(suffix))
            if not file.is_file() or hash_file(file) != sha256:
                return None
        return known

    def tables(self, folder: Path, task: TarTask) -> TarTables:
        """Return where the fields are."""
        return TarTables(task.name, folder / task.partial("npz"), self.samples, self.fields)

    def rows(self, folder: Path, task: TarTask) -> npt.NDArray[np.void]:
        """Return the tar's table (dtype `ROW`)."""
        path = folder / task.partial("npy")
        return read_array(path, Array(ROW, (self.samples,)), remedy=f"delete {folder} and start again")


def index_tar(
    folder: Path,
    place: LabelPlace,
    fields: Sequence[FieldPlace],
    check: str,
    may_lack_labels: frozenset[str],
    task: TarTask,
) -> TarRecord:
    """Index a tar into the dataset directory `folder`; its record is saved last."""

    def index() -> TarRecord:
        return _index(folder, place, fields, check, task.split not in may_lack_labels, task)

    with noting_pictures(folder / task.partial("record")) as note:
        note(task.tar)
        if task.base is None:
            found = index()
        else:
            where = f"{task.base}/{task.tar}"
            found = retry(index, f"{where} cannot be read", missing=f"{where} is missing; correct `splits`")
    with atomic_write(folder / task.partial("record")) as file:
        file.write(json.dumps(asdict(found)).encode())
    return found


def _index(
    folder: Path, place: LabelPlace, fields: Sequence[FieldPlace], check: str, labelled: bool, task: TarTask
) -> TarRecord:
    """Read a tar once and write its files."""
    name, stamp = check_name(task.tar), task.stamp()
    rows: list[tuple[int, ...]] = []
    lines: list[str] = []
    names: list[str] = []
    labels = {"": UNLABELLED}
    wnids: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    ignored: Counter[str] = Counter()
    rejected: list[dict[str, str]] = []
    collector = FieldCollector(fields)
    with open_stream(task.tar, task.base) as tar:
        if tar.read_at(0, 2) == GZIP_MAGIC:
            raise FreelightError(f"{task.tar} is compressed, so its samples cannot be read in place; unpack it first")
        samples = read_samples(tar, name, place, ignored, fields=fields, keep=check == "decode", labelled=labelled)
        for sample in checked_by_decoding(samples) if check == "decode" else samples:
            if not sample.fault:
                sample.fault = collector.add(sample)
            if sample.fault:
                rejected.append({"split": task.split, "path": f"{name}/{sample.key}", "reason": sample.fault})
                continue
            picture, label = sample.pictures[0], labels.setdefault(sample.label, len(labels) - 1)
            header = picture.header
            kinds[header.kind] += 1
            _note_wnid(wnids, sample)
            lines.append(index_line(sample.members))
            names.append(f"{name}/{picture.name}\n")
            place_of = (task.shard, picture.offset, picture.size, label, picture.crc32)
            rows.append((*place_of, header.height, header.width, *sample.metadata))
    if task.stamp() != stamp:
        raise FreelightError(f"{task.tar} was changed while it was read; run the same command again")
    files = {
        "idx": _write(folder / task.index_name, [f"v1.2 {len(lines)}\n", *lines]),
        "txt": _write(folder / task.partial("txt"), names),
    }
    with atomic_write(folder / task.partial("npy"), sync_folder=False) as file:
        np.save(file, np.array(rows, ROW))
    files["npy"] = hash_file(folder / task.partial("npy"))
    tables = {}
    if fields:
        tables = collector.save(folder / task.partial("npz"))
        files["npz"] = hash_file(folder / task.partial("npz"))
    return TarRecord(
        tar=task.tar,
        base=task.base,
        stamp=stamp,
        bytes=tar.bytes,
        sha256=tar.sha256.hexdigest(),
        samples=len(rows),
        labels=list(labels)[1:],
        wnids=wnids,
        kinds=dict(kinds),
        ignored=dict(ignored),
        rejected=tuple(rejected),
        files=files,
        fields=tables,
    )


def _note_wnid(wnids: dict[str, str], sample: Sample) -> None:
    """Note the wnid with which a key begins, by the sample's label; "" if the keys of a label begin differently."""
    found = _WNID.search(sample.key)
    wnid = found[1] if found else ""
    if wnids.setdefault(sample.label, wnid) != wnid:
        wnids[sample.label] = ""


def _write(path: Path, lines: list[str]) -> str:
    """Write a text file and return its sha256."""
    data = "".join(lines).encode(errors="surrogateescape")
    with atomic_write(path, sync_folder=False) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()
