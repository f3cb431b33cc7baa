"""The forms of tables: parquet files of pictures, and the table of classes in the devkit's `meta.mat`."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import scipy.io
from archive_forms import within_member
from edits import Edit, NotApplicableError, draw_tree, edit_tree
from forms import UNWRITABLE, Form, Strategy, tree_form
from hypothesis import strategies as st

STRUCT = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
TYPES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "int8": (pyarrow.int8(), lambda value: 1),
    "uint64": (pyarrow.uint64(), lambda value: 2**63),
    "double": (pyarrow.float64(), lambda value: float("nan")),
    "string": (pyarrow.string(), str),
    "binary": (pyarrow.binary(), lambda value: value["bytes"] if isinstance(value, dict) else b"1"),
    "bool": (pyarrow.bool_(), bool),
    "null": (pyarrow.null(), lambda value: None),
    "list": (pyarrow.list_(pyarrow.int64()), lambda value: [1, 2]),
    "time": (pyarrow.timestamp("s"), lambda value: 1),
    "bytes only": (pyarrow.struct([("bytes", pyarrow.binary())]), lambda value: {"bytes": b"x"}),
    "path a number": (
        pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.int64())]),
        lambda value: {"path": 1},
    ),
    "no bytes": (pyarrow.struct([("path", pyarrow.string())]), lambda value: {"path": "x"}),
    "empty": (pyarrow.struct([]), lambda value: {}),
}
COLUMNS = {"image": STRUCT, "label": pyarrow.int64()}
BOMB_ROWS, BOMB_BYTES = 32, 120 << 20
"""Rows of a file of some kilobytes that hold 4 GB."""


def _parse_parquet(data: bytes) -> Any:
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    notes = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    return {"image": table["image"].to_pylist(), "label": table["label"].to_pylist(), "notes": notes}


def _build_parquet(tree: Any, types: dict[str, str] | None = None) -> bytes:
    if not isinstance(tree, dict):
        raise NotApplicableError
    columns = {}
    for name, values in tree.items():
        if name == "notes":
            continue
        kind, convert = TYPES[types[name]] if types and name in types else (COLUMNS.get(name), lambda value: value)
        columns[name] = pyarrow.array([None if value is None else convert(value) for value in values], kind)
    table = pyarrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(tree.get("notes"))})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, row_group_size=4)
    return buffer.getvalue()


def _bomb() -> bytes:
    pictures = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * BOMB_ROWS, pyarrow.int32()), pyarrow.array([bytes(BOMB_BYTES)], pyarrow.binary())
    )
    image = pyarrow.StructArray.from_arrays([pictures, pyarrow.array(["x.JPEG"] * BOMB_ROWS)], ["bytes", "path"])
    table = pyarrow.table({"image": image, "label": [0] * BOMB_ROWS})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd", use_dictionary=True)
    return buffer.getvalue()


def _draw_parquet(data: bytes) -> Strategy:
    typed = st.dictionaries(st.sampled_from(list(COLUMNS)), st.sampled_from(list(TYPES)), min_size=1)
    tree = draw_tree(_parse_parquet(data))
    rare = st.integers(0, 100).map(lambda number: {"bomb": True} if number == 100 else {"types": {"label": "string"}})
    return st.one_of(tree, tree, typed.map(lambda types: {"types": types}), rare)


def _apply_parquet(data: bytes, edit: Edit, outside: str) -> bytes:
    """Give values or columns of a parquet file others values or types, or return a file that grows to 4 GB."""
    if "bomb" in edit:
        return _bomb()
    tree = _parse_parquet(data)
    try:
        if "types" in edit:
            return _build_parquet(tree, edit["types"])
        return _build_parquet(edit_tree(tree, edit, outside))
    except (*UNWRITABLE, pyarrow.ArrowException) as error:
        raise NotApplicableError from error


PARQUET = Form(_draw_parquet, _apply_parquet)


def _parse_meta(data: bytes) -> Any:
    """Return the columns of the table of classes, as lists."""
    table = scipy.io.loadmat(io.BytesIO(data), squeeze_me=True)["synsets"]
    names = table.dtype.names
    return {"synsets": {name: np.array(table[name]).tolist() for name in names}}


def _build_meta(tree: Any) -> bytes:
    if not isinstance(tree, dict):
        raise NotApplicableError
    content = {}
    for variable, columns in tree.items():
        if not isinstance(columns, dict):
            content[variable] = columns
            continue
        rows = max((len(values) for values in columns.values() if isinstance(values, list)), default=0)
        table = np.zeros((rows, 1), [(name, object) for name in columns])
        for name, values in columns.items():
            for row in range(rows):
                value = values[row % len(values)] if isinstance(values, list) and values else values
                table[name][row, 0] = np.zeros(0) if value is None else value
        content[variable] = table
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content)
    return buffer.getvalue()


META_TABLE = within_member("meta.mat", tree_form(_parse_meta, _build_meta))
