"""Check what a file holds before it is used: the types and ranges of JSON's values, and the file's size.

A file may be damaged, or come from a stranger. Each fault is one `FreelightError` that names the file, the field, the
value and the remedy.

    SHARD = record({"name": plain_name, "samples": integer(least=1)})
    content = read_json(path, record({"shards": list_of(SHARD)}), remedy="make the dataset again")
"""

import json
import math
import os
import re
import reprlib
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from .errors import FreelightError

MAX_JSON = 1 << 26
"""Maximum size of a JSON file, bytes. The manifest of Fall 2011, the largest known, has 4 MB."""

MAX_DEPTH = 32
"""Maximum number of levels of lists and objects where the content is free."""

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 80


class Mismatch(Exception):  # noqa: N818  # never seen outside: `check` turns it into a FreelightError
    """A value is not what its field must hold; the text says which field, which value and what it must be."""


def must_be(value: object, field: str, wanted: str) -> Mismatch:
    """Return the error for a value that is not what is wanted."""
    shown = " ".join(_SHOWN.repr(value).split())  # on one line
    return Mismatch(f"{field or 'the content'} (={shown}) must be {wanted}")


Check = Callable[[object, str], None]
"""(value, field) -> None. Raises `Mismatch` unless the value may stand in the field, for example `splits.val.samples`.

An empty field is the whole content.
"""


def anything(value: object, field: str) -> None:
    """Accept every value of at most `MAX_DEPTH` levels: Python cannot copy or write much deeper ones."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise must_be(value, field, f"at most {MAX_DEPTH} levels deep")


def flag(value: object, field: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise must_be(value, field, "true or false")


def is_plain_name(name: str) -> bool:
    """Tell whether a file name cannot leave its folder."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) is not None


def plain_name(value: object, field: str) -> None:
    """Accept a file name that cannot leave its folder."""
    if not isinstance(value, str) or not is_plain_name(value):
        wanted = "a name of letters, digits, '.', '_' and '-', without a leading dot: do not trust this file"
        raise must_be(value, field, wanted)


def sha256_text(value: object, field: str) -> None:
    """Accept a sha256: 64 lower-case hexadecimal digits."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise must_be(value, field, "a sha256 of 64 hexadecimal digits")


def text(*, empty: bool = True) -> Check:
    """Accept a string; if not `empty`, of at least one character."""

    def check_text(value: object, field: str) -> None:
        if not isinstance(value, str) or not (value or empty):
            raise must_be(value, field, "a string" if empty else "a string that is not empty")

    return check_text


def one_of(*values: str) -> Check:
    """Accept these strings."""

    def check_choice(value: object, field: str) -> None:
        if not isinstance(value, str) or value not in values:
            raise must_be(value, field, f"one of {', '.join(values)}")

    return check_choice


def integer(*, least: int = 0, most: int = 2**63 - 1) -> Check:
    """Accept an integer in least..most."""

    def check_integer(value: object, field: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise must_be(value, field, f"an integer in {least}..{most}")

    return check_integer


def number(*, least: float = -math.inf, most: float = math.inf) -> Check:
    """Accept a finite number, an integer too, in least..most."""

    def check_number(value: object, field: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise must_be(value, field, "a number")
        if not (-math.inf < value < math.inf and least <= value <= most):
            limits = "" if (least, most) == (-math.inf, math.inf) else f" in {least:g}..{most:g}"
            raise must_be(value, field, f"a finite number{limits}")

    return check_number


def nullable(inner: Check) -> Check:
    """Accept null, and what `inner` accepts."""

    def check_nullable(value: object, field: str) -> None:
        if value is not None:
            inner(value, field)

    return check_nullable


def list_of(inner: Check) -> Check:
    """Accept a list whose items `inner` accepts."""

    def check_list(value: object, field: str) -> None:
        if not isinstance(value, list):
            raise must_be(value, field, "a list")
        for index, item in enumerate(value):
            inner(item, f"{field}[{index}]")

    return check_list


def items(*inner: Check, least: int | None = None) -> Check:
    """Accept a list with an item for each of `inner`, in order; the last ones may be missing if `least` are there."""
    fewest = len(inner) if least is None else least

    def check_items(value: object, field: str) -> None:
        if not isinstance(value, list) or not fewest <= len(value) <= len(inner):
            wanted = f"{fewest}" if fewest == len(inner) else f"{fewest} to {len(inner)}"
            raise must_be(value, field, f"a list of {wanted} items")
        for index, (item, inner_check) in enumerate(zip(value, inner, strict=False)):
            inner_check(item, f"{field}[{index}]")

    return check_items


def mapping(inner: Check, *, keys: Check = anything) -> Check:
    """Accept an object with any keys that `keys` accepts, whose values `inner` accepts."""

    def check_mapping(value: object, field: str) -> None:
        if not isinstance(value, dict):
            raise must_be(value, field, "an object")
        for key, item in value.items():
            keys(key, f"a key of {field}" if field else "a key")
            inner(item, _join(field, key))

    return check_mapping


def record(
    required: Mapping[str, Check], optional: Mapping[str, Check] | None = None, *, others: Check | None = None
) -> Check:
    """Accept an object that has all `required` keys, and perhaps `optional` ones.

    others: for the values of keys with other names; None allows no such keys.
    """
    known = {**required, **(optional or {})}

    def check_record(value: object, field: str) -> None:
        if not isinstance(value, dict):
            raise must_be(value, field, "an object")
        for name in required:
            if name not in value:
                raise Mismatch(f"{_join(field, name)} is missing")
        for name, item in value.items():
            inner = known.get(name, others)
            if inner is None:
                raise Mismatch(f"{_join(field, name)} is unknown to this version")
            inner(item, _join(field, name))

    return check_record


def check(value: object, expected: Check, *, where: object, remedy: str) -> None:
    """Raise `FreelightError` unless `expected` accepts the value. where: the file, and the line if it has several."""
    try:
        expected(value, "")
    except Mismatch as mismatch:
        raise FreelightError(f"{where}: {mismatch}; {remedy}") from None


def parse_json(data: bytes, expected: Check, *, where: object, remedy: str) -> Any:
    """Return the checked content of UTF-8 JSON. NaN and infinities, which JSON does not have, are refused."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FreelightError(f"{where} is not valid JSON ({error}); {remedy}") from None
    check(value, expected, where=where, remedy=remedy)
    return value


def read_json(path: Path, expected: Check, *, remedy: str, limit: int = MAX_JSON) -> Any:
    """Return the checked content of a JSON file of at most `limit` bytes.

    Raises `FileNotFoundError` if there is none.
    """
    return parse_json(read_limited(path, remedy=remedy, limit=limit), expected, where=path, remedy=remedy)


def read_limited(path: Path, *, remedy: str, limit: int) -> bytes:
    """Return the bytes of a regular file. Raises `FreelightError` if there are more than `limit`.

    Raises `FileNotFoundError` if there is none.
    """
    with open_regular(path, remedy=remedy) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise FreelightError(f"{path} has more than {limit} bytes, the limit of such a file; {remedy}")
    return data


def open_regular(path: Path, *, remedy: str) -> IO[bytes]:
    """Open a regular file; errors as of `open_descriptor`."""
    return open(open_descriptor(path, remedy=remedy), "rb")


def open_descriptor(path: Path, *, remedy: str) -> int:
    """Open a regular file and return its descriptor. Raises `FreelightError` for anything else.

    Opening a named pipe would wait for its writer. Raises `FileNotFoundError` if there is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FreelightError(f"{path} is not a regular file; {remedy}")
    return descriptor


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _join(field: str, key: object) -> str:
    shown = key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,80}", key, re.ASCII) else _SHOWN.repr(key)
    return f"{field}.{shown}" if field else shown
