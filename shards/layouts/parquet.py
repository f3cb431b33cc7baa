"""Hugging Face's parquet copies: columns `image` (of `bytes` and `path`) and `label`, some hundred rows a group."""

import json
import re
from pathlib import Path
from types import ModuleType

from ..base.errors import FreelightError
from ..sources.labelling import Labelling
from ..sources.ordered import OrderedPiece, OrderedSource, import_parquet

FILE = re.compile(r"(train|validation|val|test)-\d+-of-\d+.*\.parquet$")
EXPECTED = "train-00000-of-00294.parquet and so on, in the folder or in its data/"


def _files(images: Path) -> list[tuple[str, Path]]:
    for folder in (images, images / "data"):
        if folder.is_dir():
            matches = [(FILE.match(path.name), path) for path in sorted(folder.iterdir())]
            if found := [(match.group(1), path) for match, path in matches if match]:
                return [("val" if split == "validation" else split, path) for split, path in found]
    return []


def recognises(images: Path) -> bool:
    """Tell whether such files lie there."""
    return bool(_files(images))


def list_source(images: Path, labelling: Labelling) -> OrderedSource:
    """List the row groups, which are read in order."""
    parquet = import_parquet()
    pieces: list[OrderedPiece] = []
    names: list[str] = []
    for split, path in _files(images):
        with parquet.ParquetFile(path) as file:
            columns = set(file.schema_arrow.names)
            if not {"image", "label"} <= columns:
                raise FreelightError(f"{path} has the columns {sorted(columns)}; expected 'image' and 'label'")
            names = names or _names(file)
            file_name = str(path.relative_to(images))
            pieces += [OrderedPiece(split, file_name, group, file.metadata) for group in range(file.num_row_groups)]
    return OrderedSource(
        root=images, layout="parquet", pieces=tuple(pieces), label_names=tuple(names), labelling=labelling
    )


def _names(file: ModuleType) -> list[str]:
    """Return the class names that the `datasets` library writes into the file, in label order; none without."""
    content = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    label = content.get("info", {}).get("features", {}).get("label", {})
    return list(label.get("names", []))
