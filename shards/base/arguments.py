"""Check the types of arguments and settings: a wrong one is an error where it is given, not where it is used."""

import dataclasses
import operator
import reprlib
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from .errors import FreelightError

T = TypeVar("T")


def whole_number(name: str, value: object, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return an argument as an int. NumPy's integers count; floats and bools do not.

    Raises `FreelightError` unless it lies in least..most.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise FreelightError(f"`{name}` (={reprlib.repr(value)}) must be a whole number") from None
    if number < least:
        raise FreelightError(f"`{name}` (={number}) must be at least {least}")
    if number > most:
        raise FreelightError(f"`{name}` (={reprlib.repr(value)}) must be at most {most}")
    return number


def instance_of(kind: type[T], name: str, value: object) -> T:
    """Return an argument. Raises `FreelightError` unless it is a `kind`."""
    if not isinstance(value, kind):
        raise FreelightError(f"`{name}` (={reprlib.repr(value)}) must be {_words(kind)}")
    return value


def setting(default: T, meaning: str) -> T:
    """Return a dataclass field with this default, which must be hashable, and its meaning for the user."""
    return dataclasses.field(default=default, metadata={"meaning": meaning})


def check_fields(settings: Any, *names: str) -> None:
    """Raise `FreelightError` unless the fields of a dataclass have values of their annotated types.

    For `__post_init__`. names: of the fields; all if none is given. An int may stand for a float. NumPy's numbers
    become Python's, and lists become tuples. Checks types only: ranges are for the caller.
    """
    for field in dataclasses.fields(settings):
        if names and field.name not in names:
            continue
        value = getattr(settings, field.name)
        plain = _plain(value, field.type)
        if not _is(plain, field.type):
            raise FreelightError(f"`{field.name}` (={reprlib.repr(value)}) must be {_words(field.type)}")
        if plain is not value:
            object.__setattr__(settings, field.name, plain)


def _plain(value: object, kind: Any) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        items = tuple(_plain(item, None) for item in value)
        return value if isinstance(value, tuple) and all(map(operator.is_, items, value)) else items
    return value


def _is(value: object, kind: Any) -> bool:
    choices, origin = get_args(kind), get_origin(kind)
    if origin is Literal:
        return isinstance(value, str) and value in choices
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in choices)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if choices[-1] is Ellipsis:
            return all(_is(item, choices[0]) for item in value)
        return len(value) == len(choices) and all(map(_is, value, choices))
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)  # other annotations are not checked


def _words(kind: Any) -> str:
    choices, origin = get_args(kind), get_origin(kind)
    if origin is Literal:
        return f"one of {', '.join(choices)}"
    if origin in (Union, UnionType):
        return " or ".join(map(_words, choices))
    if origin is tuple:
        parts = f"each {_words(choices[0])}" if choices[-1] is Ellipsis else ", ".join(map(_words, choices))
        return f"a tuple ({parts})"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", type(None): "None"}
    return names.get(kind) or f"a {getattr(kind, '__name__', kind)}"
