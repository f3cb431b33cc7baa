"""Hugging Face's parquet copies: columns `image` (of `bytes` and `path`) and `label`, some hundred rows per group."""

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base import FreelightError
from ..sources import Labelling, OrderedSource, Picture, is_wanted
from .huggingface import wnid_of

FILE = re.compile(r"(train|validation|val|test)-\d+-of-\d+.*\.parquet$")
BATCH_ROWS = 32


class Parquet:
    """Files train-00000-of-00294.parquet and so on."""

    name = "parquet"
    expected = "train-00000-of-00294.parquet and so on, in the folder or in its data/"

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder, or its data/, holds such files."""
        return bool(_files(images))

    def list_source(self, images: Path, labelling: Labelling) -> OrderedSource:
        """List the row groups, which are read in order."""
        parquet = import_parquet()
        pieces: list[RowGroup] = []
        names: list[str] = []
        for split, path in _files(images):
            with parquet.ParquetFile(path) as file:
                columns = set(file.schema_arrow.names)
                if not {"image", "label"} <= columns:
                    raise FreelightError(f"{path} has the columns {sorted(columns)}; expected 'image' and 'label'")
                names = names or _class_names(file)
                file_name = str(path.relative_to(images))
                pieces += [RowGroup(split, file_name, group, file.metadata) for group in range(file.num_row_groups)]
        return OrderedSource(
            root=images, layout=self.name, pieces=tuple(pieces), class_names=tuple(names), labelling=labelling
        )


@dataclass(frozen=True)
class RowGroup:
    """One row group of a parquet file. metadata: the file's, so that not every group reads it again."""

    split: str
    file: str
    row_group: int
    metadata: Any = field(default=None, compare=False)
    in_worker = True

    def read(self, root: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        """Yield the pictures of the group. The class id is the wnid at the end of the path, else the label's number."""
        parquet = import_parquet()
        path = root / self.file
        try:
            with parquet.ParquetFile(path, metadata=self.metadata) as file:
                row = 0
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[self.row_group], columns=["image", "label"]):
                    for image, label in zip(batch["image"].to_pylist(), batch["label"].to_pylist(), strict=True):
                        name = image.get("path") or f"{self.row_group:06d}-{row:06d}"
                        row += 1
                        has_label = label is not None and label >= 0
                        class_id = (wnid_of(name) or f"{label:05d}") if has_label else None
                        if is_wanted(class_id, wanted):
                            yield Picture(f"{self.file}/{name}", class_id, image["bytes"] or b"")
        except OSError as error:  # pyarrow's errors are OSErrors too
            raise FreelightError(f"{path} cannot be read ({error}); fetch it again") from error


def import_parquet() -> Any:
    """Return `pyarrow.parquet`. Raises `FreelightError`, which names the extra, if it is not installed."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FreelightError("parquet needs pyarrow; install it with: pip install 'freelight[parquet]'") from None


def _files(images: Path) -> list[tuple[str, Path]]:
    """Return (split, path) of the files."""
    for folder in (images, images / "data"):
        if folder.is_dir():
            matches = [(FILE.match(path.name), path) for path in sorted(folder.iterdir())]
            if found := [(match.group(1), path) for match, path in matches if match]:
                return [("val" if split == "validation" else split, path) for split, path in found]
    return []


def _class_names(file: Any) -> list[str]:
    """Return the class names that the `datasets` library wrote into the file, in label order; empty without them."""
    content = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    label = content.get("info", {}).get("features", {}).get("label", {})
    return list(label.get("names", []))
