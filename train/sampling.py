"""Sampling plans as text: the values of `train --subset` and the file of `train --class-weights`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..pipeline import Subset
from ..shards import FreelightError
from ..shards.base import mapping, number, read_json

_READ: dict[str, Callable[[str], Any]] = {
    "fraction": float,
    "seed": int,
    "classes": lambda text: text.split(","),
    "file": str,
}


def read_subset(settings: Sequence[str]) -> Subset | None:
    """Return the subset of `key=value` settings, if there are any; classes are separated by commas.

    Raises `FreelightError` for another key or value.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or key not in _READ or key in found:
            raise FreelightError(f"`subset` {setting!r}: expected KEY=VALUE, each key once: {', '.join(_READ)}")
        try:
            found[key] = _READ[key](text)
        except ValueError:
            raise FreelightError(f"`subset` {setting!r}: {key} takes a number") from None
    return Subset(**found) if found else None


def read_class_weights(path: Path) -> dict[str, float]:
    """Return the weights in a JSON file: an object of numbers by class id or name."""
    remedy = "give an object of numbers by class id or name"
    try:
        weights: dict[str, float] = read_json(path, mapping(number(least=0)), remedy=remedy)
    except FileNotFoundError:
        raise FreelightError(f"there is no file {path}; {remedy}") from None
    return weights
