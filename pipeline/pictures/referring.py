"""Objects of Python code, named on a command line as uvicorn and gunicorn do: `package.module:NAME`, `file.py:NAME`."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ...shards import FreelightError


def load_reference(reference: str, argument: str, *kinds: type) -> Any:
    """Return what `package.module:NAME` or `file.py:NAME` names. Its code is run.

    Modules of the working folder, and of the file's folder, are found. Raises `FreelightError`, which names the
    `argument`, for a missing module or name, for an error in its code, and for an object of none of `kinds`.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise FreelightError(f"`{argument}` (={reference}) must be <module>:<name>, or <file>.py:<name>")
    try:
        module = _import_file(Path(place), argument) if place.endswith(".py") else _import(place)
    except (Exception, SystemExit) as error:  # of other people's code: any
        if isinstance(error, FreelightError):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise FreelightError(
            f"`{argument}` {reference}: {place} cannot be imported ({what}); correct it, or its name"
        ) from error
    wanted = " or ".join(kind.__name__ for kind in kinds)
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if isinstance(value, kinds)]
        has = f"of type {wanted} are: {', '.join(known)}" if known else f"nothing there is a {wanted}"
        raise FreelightError(f"`{argument}` {reference}: {place} has no {name!r}; {has}")
    found = getattr(module, name)
    if not isinstance(found, kinds):
        raise FreelightError(f"`{argument}` {reference} is of type {type(found).__name__}, not {wanted}")
    return found


def _import(name: str) -> ModuleType:
    _look_in(os.getcwd())
    return importlib.import_module(name)


def _import_file(path: Path, argument: str) -> ModuleType:
    if not path.is_file():
        raise FreelightError(f"`{argument}`: {path} is not a file; correct the name")
    _look_in(str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FreelightError(f"`{argument}`: {path} is not Python code")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def _look_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
