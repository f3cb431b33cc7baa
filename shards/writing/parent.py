"""A finished dataset to which pictures are appended: what its tables and lists hold, whose rows stay the first ones."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..base import Array, FreelightError, read_array, read_limited
from ..dataset import (
    MANIFEST,
    METADATA,
    REJECTED,
    SAMPLE,
    SUSPECT,
    Manifest,
    SplitInfo,
    metadata_name,
    samples_name,
    sources_name,
)
from .output import Output

MAX_FILE = 1 << 32
"""Maximum bytes of a file that is no shard."""
REMEDY = "mend it with `repair`"


@dataclass(frozen=True)
class Earlier:
    """A split before pictures are appended.

    samples, metadata: tables (n,), dtypes `SAMPLE` and `METADATA`. sources: the list of source paths.
    """

    info: SplitInfo
    samples: npt.NDArray[np.void]
    metadata: npt.NDArray[np.void]
    sources: bytes


@dataclass(frozen=True)
class Parent:
    """A dataset before pictures are appended. data: of its manifest. rejected, suspect: the lists."""

    manifest: Manifest
    data: bytes
    splits: dict[str, Earlier]
    rejected: bytes
    suspect: bytes

    @classmethod
    def read(cls, output: Output) -> "Parent":
        """Read it. After a stop the files may have the appended rows already; those before are read.

        Raises `FreelightError` if a file is missing, or if its first rows are not those of the manifest.
        """
        manifest = Manifest.load(output.folder)
        data = (output.folder / MANIFEST).read_bytes()
        if manifest.to_bytes() != data:
            raise FreelightError(f"{output.where}/{MANIFEST} was changed after it was written; {REMEDY}")
        suspects = manifest.source.get("suspect", {}), *(part.source.get("suspect", {}) for part in manifest.appended)
        rejected = sum(split.rejected for split in manifest.splits.values())
        return cls(
            manifest=manifest,
            data=data,
            splits={split: _read_split(output, split, info) for split, info in manifest.splits.items()},
            rejected=_lines(output, REJECTED, rejected, manifest.files),
            suspect=_lines(output, SUSPECT, sum(sum(counts.values()) for counts in suspects), manifest.files),
        )


def _read_split(output: Output, split: str, info: SplitInfo) -> Earlier:
    metadata = np.zeros(info.samples, METADATA)
    if metadata_name(split) in info.files:
        metadata = _rows(output, metadata_name(split), METADATA, info)
    return Earlier(
        info=info,
        samples=_rows(output, samples_name(split), SAMPLE, info),
        metadata=metadata,
        sources=_lines(output, sources_name(split), info.samples, info.files),
    )


def _rows(output: Output, name: str, dtype: np.dtype[np.void], info: SplitInfo) -> npt.NDArray[np.void]:
    """Return the first rows of a table, those of the split's samples."""
    with output.reading(name, MAX_FILE) as path:
        rows: npt.NDArray[np.void] = read_array(path, Array(dtype, ("rows",)), remedy=REMEDY)[: info.samples]
    buffer = io.BytesIO()
    np.save(buffer, rows)
    _check(output, name, buffer.getvalue(), info.files)
    return rows


def _lines(output: Output, name: str, count: int, files: dict[str, str]) -> bytes:
    """Return the first lines of a list, which is empty if the dataset has none."""
    if name not in files:
        return b""
    with output.reading(name, MAX_FILE) as path:
        lines = read_limited(path, limit=MAX_FILE, remedy=REMEDY).split(b"\n")[:count]
    data = b"".join(line + b"\n" for line in lines)
    _check(output, name, data, files)
    return data


def _check(output: Output, name: str, data: bytes, files: dict[str, str]) -> None:
    if hashlib.sha256(data).hexdigest() != files[name]:
        raise FreelightError(f"{output.where}/{name} was changed after it was written; {REMEDY}")
