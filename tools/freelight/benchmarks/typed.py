"""A command line as a user types it, for records: without the folders of the machine that it ran on."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from freelight.benchmarks.machine import CHECKOUT


def as_typed(words: Sequence[str], below: Path | None = None) -> str:
    """Return a command as one line for a shell.

    A path within the checkout is written relative to it, any other absolute path as FOLDER/ and its last part. below: a
    folder whose own folders are kept, FOLDER/<name of `below`>/....
    """
    program, *others = words
    known = Path(program).name
    first = "freelight" if known in ("freelight", "__main__.py") else path_as_typed(program)
    return shlex.join([first, *(path_as_typed(word, below) for word in others)])


def path_as_typed(word: str, below: Path | None = None) -> str:
    """Return an absolute path as `as_typed` writes it; any other word as it is. `--option=PATH` counts as a path."""
    option, equals, value = word.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return word
    if CHECKOUT is not None and path.is_relative_to(CHECKOUT):
        path = path.relative_to(CHECKOUT)
    elif below is not None and path.is_relative_to(below):
        path = Path("FOLDER", below.name, path.relative_to(below))
    else:
        path = Path("FOLDER", path.name)
    return f"{option}{equals}{path}"
