"""Objects of Python code, named on a command line as uvicorn and gunicorn do: `package.module:NAME`, `file.py:NAME`."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from ...shards import FreelightError
from ..schedule import Schedule
from ..transform import Transform


def load_reference(reference: str) -> object:
    """Return what `package.module:NAME` or `file.py:NAME` names. Its code is run.

    Modules of the working folder, and of the file's folder, are found. Raises `FreelightError` for a missing module or
    name, and for an error in its code.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise FreelightError(f"`transform` (={reference}) must be <module>:<name>, or <file>.py:<name>")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import(place)
    except (Exception, SystemExit) as error:  # of other people's code: any
        if isinstance(error, FreelightError):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise FreelightError(f"`transform` {reference}: {place} cannot be imported ({what})") from error
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if isinstance(value, Transform | Schedule)]
        has = f"its transforms: {', '.join(known)}" if known else "it has no transform"
        raise FreelightError(f"`transform` {reference}: {place} has no {name!r}; {has}")
    return getattr(module, name)


def _import(name: str) -> ModuleType:
    _look_in(os.getcwd())
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FreelightError(f"`transform`: {path} is not a file; correct the name")
    _look_in(str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FreelightError(f"`transform`: {path} is not Python code")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def _look_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
