"""What the sources print on errors, warnings and notices, with `…` for names and numbers: what a page must explain.

Only statements that hold a message are parsed, because all sources would take a second. Ruff formats the sources, so a
statement is a line and the lines below it that are further to the right.
"""

import ast
import os
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HOLE = "…"
ERRORS = {
    *("FreelightError", "UnavailableError", "UnusablePackageError", "LostWorkerError", "UsageError"),
    *("DamagedPixelsError", "UndecodableError"),
}
BUILDERS = {"describe_os_error", "describe_missing", "describe_failure", "texts_of", "_describe_unknown", "_remedy"}
"""Functions that return a message, or the end of one."""
REMEDY = re.compile("_?(remed(y|ies)|again|unpack)", re.IGNORECASE)
"""Names of the end of a message, which another function puts after a fault."""
CALLS = ERRORS | {"warning", "warn", "_print"}
BEGINNING = re.compile(
    rf"def (?:{'|'.join(BUILDERS)})\(|(?:{'|'.join(CALLS)})\(|(?i:remedy|remedies|again|unpack) ?=[^=]"
)
CONSTANT = re.compile(r"^(\w+) = (\"[^\"\n]+\")$", re.MULTILINE)
IMPORT = re.compile(r"^from (\.+)([\w.]+) import (.+)$", re.MULTILINE)


class Message(NamedTuple):
    """place: file and line."""

    place: str
    text: str


@cache
def messages() -> list[Message]:
    """Return the text of each error and warning in the sources, but those that are put together from others alone."""
    paths = [path for folder in ("shards", "pipeline", "train", "tools") for path in (ROOT / folder).rglob("*.py")]
    found = [message for path in sorted(paths) for message in messages_of(path)]
    return [message for message in dict.fromkeys(found) if re.search("[a-z]{3}", message.text)]


def messages_of(path: Path) -> Iterator[Message]:
    """Yield the messages in a source file."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if BEGINNING.search(line):
            for node in ast.walk(_statement(lines, number)):
                for text in _printed_by(node, _constants(path)):
                    yield Message(f"{os.path.relpath(path, ROOT)}:{number + 1}", text)


def _statement(lines: list[str], number: int) -> ast.Module:
    """Parse the statement that begins in a line; or the arguments of a call, if that line holds only these."""
    column = len(lines[number]) - len(lines[number].lstrip())
    further = (" " * (column + 1), *(" " * column + bracket for bracket in ")]}"))
    end = number + 1
    while end < len(lines) and (not lines[end] or lines[end].startswith(further)):
        end += 1
    text = textwrap.dedent("\n".join(lines[number:end]))
    try:
        return ast.parse(text)
    except SyntaxError:
        return ast.parse(f"_({lines[number]})")


def _printed_by(node: ast.AST, constants: dict[str, str]) -> Iterator[str]:
    """Yield the messages that a node of a statement holds, and the ends of messages."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[text, *_]):
            if name in CALLS:
                yield from (re.sub(r"%[sd]|%\.0f", HOLE, found) for found in _fixed(text, constants))
        case ast.keyword(arg=str(name), value=text) if REMEDY.fullmatch(name):
            yield from (_ending(found) for found in _fixed(text, constants))
        case ast.Assign(targets=[*_, ast.Name(id=name) | ast.Attribute(attr=name)], value=text):
            if REMEDY.fullmatch(name):
                yield from (_ending(found) for found in _fixed(text, constants))
        case ast.FunctionDef(name=name) if name in BUILDERS:
            returned = [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
            found = [text for value in returned for text in _fixed(value, constants)]
            yield from map(_ending, found) if REMEDY.fullmatch(name) else found


def _ending(text: str) -> str:
    return f"{HOLE}; {text.removeprefix('; ')}"


def _fixed(node: ast.AST, constants: dict[str, str]) -> list[str]:
    """Return the fixed text of an expression, with `…` for what is computed; of each branch, if it has several."""
    match node:
        case ast.IfExp(body=body, orelse=other):
            return _fixed(body, constants) + _fixed(other, constants)
        case ast.Dict(values=values):
            return [found for value in values for found in _fixed(value, constants)]
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(_fixed(part, constants)[0] for part in parts)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [_fixed(left, constants)[0] + _fixed(right, constants)[0]]
        case ast.FormattedValue(value=ast.Name(id=name)) | ast.Name(id=name):
            return [constants.get(name, HOLE)]
        case _:
            return [HOLE]


@cache
def _constants(path: Path) -> dict[str, str]:
    """Return the texts that a source names, and those that it imports from a module."""
    text = path.read_text()
    found = {name: ast.literal_eval(value) for name, value in CONSTANT.findall(text)}
    for dots, module, names in IMPORT.findall(text):
        origin = path.parents[len(dots) - 1] / (module.replace(".", "/") + ".py")
        theirs = _constants(origin) if origin.exists() else {}
        found |= {name: theirs[name] for name in re.findall(r"\w+", names) if name in theirs}
    return found
