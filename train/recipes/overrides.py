"""Settings as text, `key=value`: which keys there are, how a value is read and written, and what it may be."""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...pipeline import ShardWindow
from .by_layer import ByLayer

Epochs = tuple[int, ...]

_TAKES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    int | None: "a whole number, or none",
    ShardWindow: "a fraction of the shards, as 10% or 0.1, or a number of them",
    Epochs: "whole numbers, separated by commas",
    ByLayer: "numbers by layer, as conv:0.1,fc8:2",
}


def settable(owner: type) -> dict[str, Any]:
    """Return the settings of `Recipe` or of `NetworkConfig` that can be set by text, with their types."""
    return {key: kind for key, kind in get_type_hints(owner).items() if key not in ("name", "network", "header")}


def meanings(owner: type) -> dict[str, str]:
    """Return what each setting of `Recipe` or of `NetworkConfig` means."""
    return {field.name: field.metadata["meaning"] for field in dataclasses.fields(owner) if field.metadata}


def takes(kind: Any) -> str:
    """Return what a setting of this type takes, in words."""
    return f"one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else _TAKES[kind]


def nearest(key: str, keys: Iterable[str]) -> str:
    """Return the question for the most similar of `keys`; without one, all of them."""
    keys = list(keys)
    found = difflib.get_close_matches(key, keys, n=1)
    return f"did you mean {found[0]}?" if found else f"there are: {', '.join(keys)}"


def read_value(text: str, kind: Any) -> Any:
    """Read a setting's value; raises `ValueError` with what the setting takes."""
    try:
        if get_origin(kind) is Literal:
            return {choice: choice for choice in get_args(kind)}[text]
        if kind is bool:
            return {"true": True, "false": False}[text]
        if kind is ByLayer:
            return ByLayer.parse(text)
        if kind == Epochs:
            return tuple(int(part) for part in text.split(",") if part)
        if kind == int | None:
            return None if text == "none" else int(text)
        if kind == ShardWindow:
            return float(text[:-1]) / 100 if text.endswith("%") else int(text) if text.isdecimal() else float(text)
        return kind(text)
    except (ValueError, KeyError):
        raise ValueError(takes(kind)) from None


def write_value(value: Any) -> str:
    """Return the text that `read_value` reads as `value`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
