"""Edits of parsed files, as plain JSON values so that a case can be stored and replayed: trees, arrays and bytes.

Each kind of edit has a strategy, which draws it, and a function, which applies it.
"""

import copy
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Edit = dict[str, Any]
Path = list[Any]
Array = npt.NDArray[Any]


class NotApplicableError(Exception):
    """The edit cannot be applied to this content, or the result cannot be written in this format."""


SPECIALS = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "long": "x" * 100_000,
    # Text formats have a number of 5,000 digits, or 5,000 lists in each other, in the place of these.
    "digits": "@DIGITS@",
    "nested": "@NESTED@",
}
DIGITS, NESTED = "9" * 5_000, "[" * 5_000 + "]" * 5_000
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**32 - 1, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308, 1e-320),
    *(
        "",
        "x",
        "1",
        "two\nlines",
        "\x1b[31mred\x1b[0m\x07",
        "../../evil",
        "..",
        ".hidden",
        "a/b",
        "nul\0",
        "\ud800",
        "ü",
    ),
    *([], {}, [None], [[1, 2], [3]], {"a": 1}, ["x"] * 20),
    *({"@": name} for name in (*SPECIALS, "outside")),
]
"""Values that replace others. `{"@": name}` stands for one that JSON does not hold, or that is long."""


def draw_value() -> st.SearchStrategy[Any]:
    """Draw a value."""
    other = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12))
    return st.one_of(st.sampled_from(VALUES), st.sampled_from(VALUES), other)


def expand(value: Any, outside: str) -> Any:
    """Return a drawn value with its stand-ins replaced. outside: path of a folder in which nothing may be written."""
    if isinstance(value, dict) and set(value) == {"@"}:
        return f"{outside}/evil" if value["@"] == "outside" else SPECIALS[value["@"]]
    return copy.deepcopy(value)


def node(tree: Any, path: Path) -> Any:
    """Return the node of a tree of dictionaries and lists at `path`."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError) as error:
            raise NotApplicableError from error
    return tree


def paths(tree: Any, at: Path) -> list[Path]:
    """Return the paths of all nodes, `at` being that of `tree`."""
    found = [at]
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, child in children:
        found += paths(child, [*at, key])
    return found


@st.composite
def draw_tree(draw: st.DrawFn, tree: Any) -> Edit:
    """Draw an edit: a node is set, dropped, doubled or swapped with another, or a child is added; arrays are edited."""
    every = paths(tree, [])
    path = draw(st.sampled_from(every))
    here = node(tree, path)
    if isinstance(here, np.ndarray) and draw(st.integers(0, 4)):
        return {"path": path, "array": draw(draw_array(here))}
    moves = ["set", "set"] + (["drop", "twice", "copy"] if path else [])
    moves += ["add"] if isinstance(here, dict | list) else []
    move = draw(st.sampled_from(moves))
    edit: Edit = {"path": path, "move": move}
    if move == "set":
        edit["value"] = draw(draw_value())
    elif move == "add":
        edit |= {"key": draw(st.sampled_from(["new", "", "../../evil", "sha256", "name"])), "value": draw(draw_value())}
    elif move == "copy":
        edit["source"] = draw(st.sampled_from(every))
    return edit


def edit_tree(tree: Any, edit: Edit, outside: str) -> Any:
    """Return the edited tree; `tree` itself may change."""
    path, move = edit["path"], edit.get("move")
    here = node(tree, path)
    if "array" in edit:
        if not isinstance(here, np.ndarray):
            raise NotApplicableError
        new: Any = edit_array(here, edit["array"])
    elif move == "copy":
        new = copy.deepcopy(node(tree, edit["source"]))
    elif move == "set":
        new = expand(edit["value"], outside)
    elif move == "add":
        if isinstance(here, dict):
            here[edit["key"]] = expand(edit["value"], outside)
        elif isinstance(here, list):
            here.append(expand(edit["value"], outside))
        else:
            raise NotApplicableError
        return tree
    if not path:
        return new
    parent, key = node(tree, path[:-1]), path[-1]
    if isinstance(parent, tuple):  # in a tensor's tree: becomes a list
        raise NotApplicableError
    if move == "drop":
        del parent[key]
    elif move == "twice":
        if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(here))
        else:
            parent[f"{key}2"] = copy.deepcopy(here)
    else:
        parent[key] = new
    return tree


DTYPES = ("f2", "f4", "f8", "i1", "i4", "i8", "u8", ">f4", ">i4", "c8", "?", "U5", "S3", "O", "M8[s]", "V7")
SHAPES = ("more", "flat", "empty", "half", "twice", "transposed", "scalar", "wider", "fortran")
NUMBERS = (math.nan, math.inf, -math.inf, -1, 0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 1e308, 1e-40)


@st.composite
def draw_array(draw: st.DrawFn, array: Array) -> Edit:
    """Draw an edit of an array: another dtype or shape, or values out of range."""
    move = draw(st.sampled_from(["dtype", "shape", "value", "value", "fill", "declare"]))
    edit: Edit = {"move": move}
    if move == "dtype":
        edit["dtype"] = draw(st.sampled_from(DTYPES))
    elif move == "shape":
        edit["shape"] = draw(st.sampled_from(SHAPES))
    elif move == "declare":
        edit["shape"] = draw(st.sampled_from([[10**12], [2**40, 2**40], [-1], [0], [], [3], [2] * 40, [10**5, 10**4]]))
    else:
        edit["number"] = str(draw(st.sampled_from(NUMBERS)))  # JSON has no NaN
        edit["field"] = draw(st.sampled_from(array.dtype.names or [None]))
        edit["index"] = draw(st.integers(0, max(0, array.size - 1)))
    return edit


class Declared(np.ndarray[Any, Any]):
    """An array whose file declares the shape `declared` instead of its own."""

    declared: tuple[int, ...]


def edit_array(array: Array, edit: Edit) -> Array:
    """Return the edited array."""
    move = edit["move"]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if move == "dtype":
                if edit["dtype"] == "V7":
                    return np.zeros(array.shape, "V7")
                return array.astype(edit["dtype"])
            if move == "shape":
                return _reshaped(array, edit["shape"])
            if move == "declare":
                declared = array.view(Declared)
                declared.declared = tuple(edit["shape"])
                return declared
            changed = np.array(array)
            part = changed[edit["field"]] if edit["field"] else changed
            number = np.array(
                float(edit["number"]) if "." in edit["number"] or "n" in edit["number"] else int(edit["number"])
            )
            if part.dtype.kind in "US":
                number = np.array(f"_{edit['number']}")  # a name "inf", printed, would look like a number
            if move == "fill":
                part[...] = number.astype(part.dtype)
            else:
                part.reshape(-1)[edit["index"] % max(1, part.size)] = number.astype(part.dtype)
            return changed
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise NotApplicableError from error


def _reshaped(array: Array, shape: str) -> Array:
    match shape:
        case "more":
            return array[None]
        case "flat":
            return array.reshape(-1)
        case "empty":
            return array[:0] if array.ndim else array.reshape(1)[:0]
        case "half":
            return array[: len(array) // 2]
        case "twice":
            return np.concatenate([array, array])
        case "transposed":
            return array.T
        case "scalar":
            return array.reshape(-1)[:1].reshape(())
        case "wider":
            return np.concatenate([array, array[..., :1]], axis=-1)
        case _:
            return np.asfortranarray(array)


@st.composite
def draw_bytes(draw: st.DrawFn, size: int) -> Edit:
    """Draw an edit of `size` bytes: bits flipped, bytes set, cut, inserted, or zeroed."""
    edit: Edit = {"move": draw(st.sampled_from(["flip", "set", "cut", "insert", "zero", "swap"]))}
    # Headers lie at the beginning, directories at the end.
    near = st.integers(0, min(600, max(0, size - 1)))
    edit["at"] = draw(
        st.one_of(near, near.map(lambda place: max(0, size - 1 - place)), st.integers(0, max(0, size - 1)))
    )
    edit["count"] = draw(st.sampled_from([1, 1, 2, 4, 8, 100, 4096]))
    edit["byte"] = draw(st.integers(0, 255))
    return edit


def edit_bytes(data: bytes, edit: Edit) -> bytes:
    """Return the edited bytes."""
    if not data:
        raise NotApplicableError
    at, count, byte = edit["at"] % len(data), edit["count"], edit["byte"]
    head, part, tail = data[:at], data[at : at + count], data[at + count :]
    match edit["move"]:
        case "flip":
            return head + bytes([part[0] ^ (1 << byte % 8)]) + part[1:] + tail
        case "set":
            return head + bytes([byte]) * len(part) + tail
        case "cut":
            return head if byte % 2 else head + tail
        case "insert":
            return head + bytes([byte]) * count + part + tail
        case "zero":
            return head + bytes(len(part)) + tail
        case _:
            return head + tail[:count] + part + tail[count:]
