"""Settings as text, `key=value`: which keys there are, and how a value is read."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

from .by_layer import ByLayer

Epochs = tuple[int, ...]

EXPECTED = {
    int: "a whole number",
    float: "a number",
    int | None: "a whole number, or none",
    Epochs: "whole numbers, separated by commas",
    ByLayer: "numbers by layer, as conv:0.1,fc8:2",
}
"""What a setting of each type takes, for error messages."""


def settable(owner: type) -> dict[str, Any]:
    """Return the settings of `Recipe` or of `NetworkConfig` that can be set by text, with their types."""
    return {key: kind for key, kind in get_type_hints(owner).items() if key not in ("name", "network", "header")}


def read_value(text: str, kind: Any) -> Any:
    """Read a setting's value; raises `ValueError` with what the setting takes."""
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"one of {', '.join(get_args(kind))}")
        return text
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"
    try:
        if kind is ByLayer:
            return ByLayer.parse(text)
        if kind == Epochs:
            return tuple(int(part) for part in text.split(",") if part)
        if kind == int | None:
            return None if text == "none" else int(text)
        return kind(text)
    except ValueError:
        raise ValueError(EXPECTED[kind]) from None
