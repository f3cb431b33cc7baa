"""Read a pickle of plain values without running it: dicts, lists, tuples, texts, numbers, and arrays of bytes.

`pickletools` takes the file apart, and what such values do not need is refused. Nothing is imported or called: the
names of NumPy that an array's pickle holds only mark its parts.
"""

import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import FreelightError

_ARRAY = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_DTYPE, _CLASS = "numpy dtype", "numpy ndarray"
# Opcodes that push their argument; constants; new containers; tuples of the last values; the memo.
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "UNICODE")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NEW = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_MARK = object()


@dataclass(frozen=True)
class _Name:
    """A name of NumPy."""

    name: str


@dataclass(frozen=True)
class _Unfinished:
    """An array or a dtype whose content follows. maker: the name that makes it."""

    maker: str
    arguments: tuple[Any, ...]


class _RefusedError(Exception):
    """The pickle holds something else."""


def read_pickle(data: bytes, where: object) -> Any:
    """Return the value in a pickle of Python 2, protocols 0 to 2: its texts as Latin-1, its arrays as uint8.

    Raises `FreelightError`, naming `where`, for anything else.
    """
    remedy = "it is not run; fetch the official file again"
    try:
        return _run(data)
    except _RefusedError as refused:
        raise FreelightError(f"{where} is no pickle of plain values ({refused}); {remedy}") from None
    except Exception as error:  # pickletools raises errors of many types for damaged data
        raise FreelightError(f"{where} is a damaged pickle ({type(error).__name__}); {remedy}") from None


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    name: str
    argument: Any
    for name, argument in ((opcode.name, argument) for opcode, argument, _ in pickletools.genops(data)):
        if name in _NUMBERS or name in _TEXTS:
            stack.append(argument)
        elif name in _PUTS:
            memo[argument] = stack[-1]
        elif name in _GETS:
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in _TUPLES:
            stack.append(tuple(_take(stack, _TUPLES[name])))
        elif name in ("TUPLE", "LIST", "DICT"):
            values = _take_marked(stack)
            stack.append(_pairs(values) if name == "DICT" else list(values) if name == "LIST" else tuple(values))
        elif name in ("APPEND", "APPENDS"):
            values = _take(stack, 1) if name == "APPEND" else _take_marked(stack)
            _require(stack[-1], list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = _take(stack, 2) if name == "SETITEM" else _take_marked(stack)
            _require(stack[-1], dict).update(_pairs(values))
        elif name == "GLOBAL":
            if argument not in (*_ARRAY, _DTYPE, _CLASS):
                raise _RefusedError(f"it names {argument[:60]!r}")
            stack.append(_Name(argument))
        elif name == "REDUCE":
            maker, arguments = _take(stack, 2)
            if not isinstance(maker, _Name) or maker.name == _CLASS:
                raise _RefusedError("it calls something")
            stack.append(_Unfinished(maker.name, _require(arguments, tuple)))
        elif name == "BUILD":
            part, state = _take(stack, 2)
            stack.append(_build(_require(part, _Unfinished), state))
        elif name == "STOP":
            (value,) = stack
            return value
        elif name != "PROTO":
            raise _RefusedError(f"it has the opcode {name}")
    raise _RefusedError("it has no end")


def _take(stack: list[Any], count: int) -> list[Any]:
    """Remove and return the last `count` values."""
    if len(stack) < count:
        raise _RefusedError("values are missing")
    taken = stack[-count:]
    del stack[-count:]
    return taken


def _take_marked(stack: list[Any]) -> list[Any]:
    """Remove the values after the last mark, and the mark; return the values."""
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def _pairs(values: list[Any]) -> dict[str, Any]:
    # Keys of text alone: the hash of nested tuples may take for ever.
    return {_require(key, str): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _require(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise _RefusedError(f"a {kind.__name__.strip('_').lower()} is expected at one place")
    return value


def _build(part: _Unfinished, state: Any) -> Any:
    """Return the finished array; a dtype stays as it is, because only bytes are read."""
    if part.maker == _DTYPE:
        return part
    _, shape, dtype, fortran, content = _require(state, tuple)
    if not isinstance(dtype, _Unfinished) or dtype.maker != _DTYPE or dtype.arguments[0] != "u1" or fortran:
        raise _RefusedError("an array is not of uint8, row by row")
    raw = np.frombuffer(_require(content, str).encode("latin-1"), np.uint8)
    if any(not isinstance(side, int) or side < 0 for side in shape) or math.prod(shape) != raw.size:
        raise _RefusedError("an array has not as many bytes as its shape says")
    return raw.reshape(shape)
