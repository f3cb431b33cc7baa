"""Forms of files: how a file is taken apart, edited, and written again. Here those of text and of NumPy.

A form draws edits of a file's bytes and applies them. `NotApplicableError`: the format cannot hold the result.
"""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from edits import DIGITS, NESTED, Declared, Edit, NotApplicableError, draw_bytes, draw_tree, edit_bytes, edit_tree
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Edit]
# What the writers of numpy, torch and json raise for values that their formats do not hold.
UNWRITABLE = (
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    OverflowError,
    KeyError,
    IndexError,
    pickle.PicklingError,
)


@dataclass(frozen=True)
class Form:
    """draw: strategy of the edits of a file's bytes. apply: (bytes, edit, outside) -> edited bytes.

    raw: the edit does not correct the format's own checksums, if it has any.
    """

    draw: Callable[[bytes], Strategy]
    apply: Callable[[bytes, Edit, str], bytes]
    raw: bool = False


def tree_form(parse: Callable[[bytes], Any], build: Callable[[Any], bytes]) -> Form:
    def apply(data: bytes, edit: Edit, outside: str) -> bytes:
        tree = edit_tree(parse(data), edit, outside)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return build(tree)
        except UNWRITABLE as error:
            raise NotApplicableError from error

    return Form(lambda data: draw_tree(parse(data)), apply)


def _json(tree: Any) -> bytes:
    return json.dumps(tree, indent=1).replace('"@DIGITS@"', DIGITS).replace('"@NESTED@"', NESTED).encode()


def _json_lines(tree: Any) -> bytes:
    if not isinstance(tree, list):
        raise NotApplicableError
    text = "".join(f"{json.dumps(line)}\n" for line in tree)
    return text.replace('"@DIGITS@"', DIGITS).replace('"@NESTED@"', NESTED).encode()


def parse_lines(separator: str) -> Callable[[bytes], Any]:
    return lambda data: [line.split(separator) for line in data.decode("latin-1").split("\n")]


def build_lines(separator: str) -> Callable[[Any], bytes]:
    def build(tree: Any) -> bytes:
        lines = tree if isinstance(tree, list) else [tree]
        texts = [separator.join(map(str, line)) if isinstance(line, list) else str(line) for line in lines]
        return "\n".join(texts).replace("@DIGITS@", DIGITS).encode("utf-8", "surrogatepass")

    return build


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    if isinstance(array, Declared):
        header = np.lib.format.header_data_from_array_1_0(np.asarray(array))
        np.lib.format.write_array_header_1_0(buffer, {**header, "shape": array.declared})
        buffer.write(np.asarray(array).tobytes())
    else:
        np.save(buffer, np.asarray(array))
    return buffer.getvalue()


def _parse_npz(data: bytes) -> Any:
    with np.load(io.BytesIO(data)) as archive:
        return dict(archive)


def _npz(tree: Any) -> bytes:
    if not isinstance(tree, dict):
        raise NotApplicableError
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in tree.items():
            archive.writestr(f"{name}.npy", _npy(array))
    return buffer.getvalue()


BYTES = Form(lambda data: draw_bytes(len(data)), lambda data, edit, outside: edit_bytes(data, edit), raw=True)
JSON = tree_form(json.loads, _json)
JSON_LINES = tree_form(lambda data: [json.loads(line) for line in data.splitlines()], _json_lines)
WORDS, COMMAS, TABS = (tree_form(parse_lines(mark), build_lines(mark)) for mark in " ,\t")
NPY = tree_form(lambda data: np.load(io.BytesIO(data)), _npy)
NPZ = tree_form(_parse_npz, _npz)
