"""Hugging Face's parquet copies: columns `image` (of `bytes` and `path`) and `label`, some hundred rows per group."""

import re
from pathlib import Path
from typing import Any

from ..base import FreelightError, anything, check, list_of, nullable, parse_json, text
from ..sources import Labelling, OrderedSource, scan_folder
from .folders import SPLIT_OF
from .parquet_pages import Group, read_groups
from .parquet_rows import RowGroup, import_parquet, open_parquet

FEW_ROWS = 1000
"""A file may declare so many rows however small it is. More need a byte each."""
_SPLIT_WORD = re.compile(r"([a-z]+)[-_.]", re.IGNORECASE)
_REMEDY = "fetch it again"


class Parquet:
    """Files train-00000-of-00294.parquet and so on, or 0000.parquet and so on in train/ and validation/."""

    name = "parquet"
    expected = "train-00000-of-00294.parquet or train/0000.parquet and so on, in the folder, in its data/, or one file"

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder, its data/ or its only subfolder holds such files, or is one."""
        return _find_files(images) is not None

    def list_source(self, images: Path, labelling: Labelling) -> OrderedSource:
        """List the row groups, which are read in order."""
        import_parquet()
        pieces: list[RowGroup] = []
        names: list[str] = []
        root = images.parent if images.is_file() else images
        for split, path in _split_files(images):
            with open_parquet(path) as file:
                _check_columns(file.schema_arrow, path)
                groups = _declared_groups(path, file.num_row_groups)
                found = _class_names(file.schema_arrow, path)
                if found and names and found != names:
                    raise FreelightError(f"{path} has other class names than the files before it; fetch all again")
                names = names or found
                file_name = str(path.relative_to(root))
                pieces += [
                    RowGroup(split, file_name, number, group, len(found), file.metadata)
                    for number, group in enumerate(groups)
                ]
        return OrderedSource(
            root=root, layout=self.name, pieces=tuple(pieces), class_names=tuple(names), labelling=labelling
        )


def _parquets(folder: Path) -> list[Path]:
    return [
        Path(entry.path)
        for entry in scan_folder(folder)
        if entry.name.lower().endswith(".parquet") and not entry.name.startswith(".") and not entry.is_dir()
    ]


def _find_files(images: Path) -> tuple[list[Path], dict[str, list[Path]]] | None:
    """Return the parquet files of a folder, and those of its split folders by the folder's name; None without any.

    The folder is `images`, or its data/, or its only subfolder, such as default/.
    """
    if images.is_file():
        return ([images], {}) if images.name.lower().endswith(".parquet") else None
    if not images.is_dir():
        return None
    subfolders = [entry.name for entry in scan_folder(images) if entry.is_dir() and not entry.name.startswith(".")]
    for folder in (images, images / "data", *([images / subfolders[0]] if len(subfolders) == 1 else [])):
        if not folder.is_dir():
            continue
        entries = [entry for entry in scan_folder(folder) if entry.name.lower() in SPLIT_OF and entry.is_dir()]
        within = {entry.name: found for entry in entries if (found := _parquets(Path(entry.path)))}
        if (own := _parquets(folder)) or within:
            return own, within
    return None


def _split_files(images: Path) -> list[tuple[str, Path]]:
    """Return (split, path) of the files. Files whose names say no split are `train`, if all are so.

    Raises `FreelightError` if it is not clear to which split a file belongs.
    """
    found = _find_files(images)
    assert found is not None
    own, within = found
    words = {path: _SPLIT_WORD.match(path.name) for path in own}
    known = {path: SPLIT_OF[word[1].lower()] for path, word in words.items() if word and word[1].lower() in SPLIT_OF}
    unknown = [path for path in own if path not in known]
    if unknown and (known or within):
        raise FreelightError(
            f"{unknown[0]} is of no known split, unlike other files there; name it train-..., validation-... or "
            "test-..., or move it away"
        )
    if known and within:
        raise FreelightError(
            f"{next(iter(known))} lies beside the folder {next(iter(within))}/, which holds parquet files too; "
            "give one of them"
        )
    files = [*known.items(), *((path, "train") for path in unknown)]
    files += [(path, SPLIT_OF[name.lower()]) for name, paths in within.items() for path in paths]
    return sorted(((split, path) for path, split in files), key=lambda item: item[1])


def _declared_groups(path: Path, count: int) -> list[Group]:
    """Return the `count` row groups that a file declares. Raises `FreelightError` for more rows than it can hold."""
    try:
        groups = read_groups(path)
    except ValueError as error:
        raise FreelightError(f"{path} is damaged ({error}); fetch it again") from None
    rows, size = sum(group.rows for group in groups), path.stat().st_size
    if len(groups) != count or any(group.rows < 0 for group in groups):
        raise FreelightError(f"{path} is damaged (its row groups do not fit each other); fetch it again")
    if rows > max(FEW_ROWS, size):
        raise FreelightError(f"{path} declares {rows} rows, but has {size} bytes; fetch it again")
    return groups


def _check_columns(schema: Any, path: Path) -> None:
    """Raise `FreelightError` unless the columns are `image`, of `bytes` and `path`, and `label`, an integer."""
    expected = "expected 'image', of 'bytes' and perhaps 'path', and 'label', the number of the class"
    fields = {name: [str(field.type) for field in schema if field.name == name] for name in ("image", "label")}
    if any(len(types) != 1 for types in fields.values()):
        raise FreelightError(f"{path} has the columns {', '.join(schema.names)[:200]}; {expected}")
    image, label = schema.field("image").type, str(schema.field("label").type)
    parts = {field.name: str(field.type) for field in image} if str(image).startswith("struct<") else {}
    binary, strings = ("binary", "large_binary", "binary_view"), ("string", "large_string", "string_view", "null")
    if parts.get("bytes") not in binary or parts.get("path", "null") not in (*binary, *strings):
        raise FreelightError(f"{path}: the column 'image' has the type {str(image)[:200]}; {expected}")
    if not re.fullmatch(r"u?int(8|16|32|64)", label):
        raise FreelightError(f"{path}: the column 'label' has the type {label[:200]}; {expected}")


def _class_names(schema: Any, path: Path) -> list[str]:
    """Return the class names that the `datasets` library wrote into the file, in label order; empty without them."""
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    content = parse_json(written, anything, where=f"{path}: the metadata of the library datasets", remedy=_REMEDY)
    for key in ("info", "features", "label", "names"):
        content = content.get(key) if isinstance(content, dict) else None
    check(content, nullable(list_of(text())), where=f"{path}: the class names", remedy=_REMEDY)
    return content or []
