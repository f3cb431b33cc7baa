"""Read the pictures of a parquet row group a few rows at a time, after a check of what the file declares."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base import FreelightError
from ..images import MAX_PICTURE
from ..sources import Picture, is_wanted
from .huggingface import wnid_of
from .parquet_pages import Chunk, Group, largest_page

BATCH_ROWS, BATCH_BYTES = 32, 64 << 20
MAX_PAGE = 192 << 20
"""Upper bound for an unpacked page, bytes."""
MAX_PATH = 4096
"""Upper bound for the path in a row, bytes."""
MAX_GROUP, MAX_RATIO = 512 << 20, 1000
"""Upper bound for an unpacked row group: bytes, or a multiple of the file's size if that is more."""
COLUMNS = ("image.bytes", "image.path", "label")


@dataclass(frozen=True)
class RowGroup:
    """One row group of a parquet file.

    declared: what the footer says of it. classes: number of class names in the file; 0 if it has none. metadata: the
    file's, so that not every group reads it again.
    """

    split: str
    file: str
    row_group: int
    declared: Group
    classes: int = 0
    metadata: Any = field(default=None, compare=False)
    in_worker = True

    def read(self, root: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        """Yield the pictures of the group. The class id is the wnid at the end of the path, else the label's number.

        A row without a picture or a usable label is left out. Raises `FreelightError` if the file is damaged.
        """
        arrow = importlib.import_module("pyarrow")
        path = root / self.file
        with open_parquet(path, self.metadata) as file:
            batch_rows = _rows_at_once(path, self.declared.chunks)
            expected = self.declared.rows
            limit = max(MAX_GROUP, MAX_RATIO * path.stat().st_size)
            rows = size = 0
            for batch in file.iter_batches(batch_rows, row_groups=[self.row_group], columns=list(COLUMNS)):
                size += batch.nbytes
                if size > limit or rows + len(batch) > expected:
                    raise FreelightError(
                        f"{path}: row group {self.row_group} unpacks to more than {limit} bytes or {expected} rows, "
                        "which no pictures do; fetch it again"
                    )
                yield from self._pictures(batch, rows, wanted)
                rows += len(batch)
                large = batch.nbytes > BATCH_BYTES
                del batch  # a large one would stay in memory beside the next one
                if large:
                    arrow.default_memory_pool().release_unused()
            if rows < expected:
                raise FreelightError(
                    f"{path}: row group {self.row_group} has {rows} rows, but declares {expected}; fetch it again"
                )

    def _pictures(self, batch: Any, first_row: int, wanted: frozenset[str] | None) -> Iterator[Picture]:
        for row, values in enumerate(_rows(batch), first_row):
            picture = self._picture(row, *values)
            if is_wanted(picture.class_id, wanted):
                yield picture

    def _picture(self, row: int, content: Any, path: bytes, label: int | None) -> Picture:
        """Return the picture of a row. content: a pyarrow scalar, whose bytes are not copied before their check."""
        name, fault = f"{self.row_group:06d}-{row:06d}", ""
        if len(path) > MAX_PATH or b"\n" in path or b"\0" in path:
            fault = f"its path has a line break, a zero byte or more than {MAX_PATH} bytes"
        elif path:
            name = path.decode(errors="surrogateescape")
        number = -1 if label is None else label
        if not content.is_valid:
            fault = "the image is null"
        elif len(content.as_buffer()) > MAX_PICTURE:
            fault = f"has {len(content.as_buffer())} bytes; a picture may have {MAX_PICTURE >> 20} MiB"
        elif number < 0 and self.split != "test":
            fault = "the label is null" if label is None else f"the label is {label}"
        elif self.classes and number >= self.classes:
            fault = f"the label is {label}, but the file names {self.classes} classes"
        if fault:
            return Picture(f"{self.file}/{name}", None, b"", fault)
        if number < 0:
            return Picture(f"{self.file}/{name}", None, content.as_py())
        class_id = wnid_of(name) or f"{number:05d}"
        return Picture(f"{self.file}/{name}", class_id, content.as_py(), number=number if self.classes else None)


@contextmanager
def open_parquet(path: Path, metadata: Any = None) -> Iterator[Any]:
    """Open a parquet file. pyarrow's errors become a `FreelightError` that names the file."""
    parquet = import_parquet()
    if not path.is_file():
        raise FreelightError(f"{path} is not a regular file; fetch it again")
    try:
        # Buffered and without prefetching: a column is read page by page, not whole.
        with parquet.ParquetFile(path, metadata=metadata, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (importlib.import_module("pyarrow").ArrowException, OSError, UnicodeDecodeError) as error:
        raise FreelightError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}); fetch it again") from error


def import_parquet() -> Any:
    """Return `pyarrow.parquet`. Raises `FreelightError`, which names the extra, if it is not installed."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FreelightError("parquet needs pyarrow; install it with: pip install 'freelight[parquet]'") from None


def _rows_at_once(path: Path, chunks: tuple[Chunk, ...]) -> int:
    """Return how many rows of a group are to be read at once, so that these take some `BATCH_BYTES`.

    Raises `FreelightError` if a page is too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        largest = max([1, *(largest_page(descriptor, chunk) for chunk in chunks)])  # of all: pyarrow goes by place
    except ValueError as error:
        raise FreelightError(f"{path} is damaged ({error}); fetch it again") from None
    finally:
        os.close(descriptor)
    if largest > MAX_PAGE:
        raise FreelightError(
            f"{path} has a page of {largest} bytes; at most {MAX_PAGE} are read: write it again with smaller row groups"
        )
    return max(1, min(BATCH_ROWS, BATCH_BYTES // largest))


def _rows(batch: Any) -> Iterator[tuple[Any, bytes, int | None]]:
    """Yield (content, path, label) of the rows. content: a pyarrow scalar. A path may be no UTF-8."""
    arrow = importlib.import_module("pyarrow")
    image = batch["image"]
    contents = image.field("bytes")
    present = image.is_valid().to_pylist()
    paths = image.field("path").cast(arrow.binary()).to_pylist() if len(image.type) > 1 else [None] * len(image)
    for row, (path, label) in enumerate(zip(paths, batch["label"].to_pylist(), strict=True)):
        yield contents[row] if present[row] else arrow.scalar(None, contents.type), path or b"", label
