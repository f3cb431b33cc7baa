"""A recipe as a TOML file: `train --save-recipe` writes it, `train --recipe FILE.toml` reads it."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from ...shards import FreelightError
from ...shards.base import Mismatch, atomic_write, printable, read_limited, record, text
from .by_layer import ByLayer
from .header import Header
from .overrides import nearest
from .published import RECIPES, name_with_changes
from .recipe import Recipe
from .table import described_settings

SUFFIX = ".toml"
MAX_BYTES = 1 << 16
"""Maximum size of a recipe's file, bytes."""
_HEADER = record({}, dict.fromkeys(("summary", "command", "note", "hardware", "status"), text()))


def find_recipe(named: str, argument: str = "recipe") -> Recipe:
    """Return the published recipe of that name, or that of the file `named`, which ends in .toml.

    argument: its name in errors.
    """
    if named in RECIPES:
        return RECIPES[named]
    if named.endswith(SUFFIX):
        return read_recipe(Path(named))
    raise FreelightError(
        f"`{argument}` (={named}) is neither a recipe nor a file that ends in {SUFFIX}; {nearest(named, RECIPES)}"
    )


def read_recipe(path: Path) -> Recipe:
    """Return the recipe of a TOML file: `name`, settings by key, and a table `header` of texts.

    A setting that is left out has the value of `paper`, as after `train --set`; without a name, the recipe has the
    file's. Values are TOML's own, or the text that `train --set` takes. Raises `FreelightError`, naming the file, for
    anything else.
    """
    try:
        data = read_limited(path, remedy="give a recipe's file", limit=MAX_BYTES)
        settings = tomllib.loads(data.decode())
        name, header = settings.pop("name", path.stem), settings.pop("header", {})
        text(empty=False)(name, "name")
        _HEADER(header, "header")
        changes = [f"{key}={_as_text(value)}" for key, value in settings.items()]
        return dataclasses.replace(Recipe().override(changes), name=name, header=Header(**header))
    except FileNotFoundError:
        raise FreelightError(f"there is no recipe {path}; `save_recipe` writes one") from None
    except FreelightError as error:  # without the backticks, which would become options
        raise FreelightError(f"{path}: {error}".replace("`settings` ", "").replace("`", "")) from None
    except (ValueError, RecursionError, Mismatch) as error:  # of the encoding, TOML, or a number of many digits
        raise FreelightError(f"{path} is not a recipe: {error}") from None


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with all its settings, each with its meaning, under the name of the file."""
    summary = json.dumps(name_with_changes(recipe), ensure_ascii=False)
    lines = [
        "# A recipe for train --recipe. A setting that is left out has the value of the recipe paper.",
        f"name = {json.dumps(printable(path.stem), ensure_ascii=False)}",
        "",
    ]
    values = recipe.settings()
    for key, (_, choices, meaning) in described_settings(recipe).items():
        lines.append(f"{key} = {_as_toml(values[key])}".ljust(32) + f"  # ({choices}) {meaning}")
    lines += ["", "[header]", f"summary = {summary}", ""]
    with atomic_write(path) as file:
        file.write("\n".join(lines).encode())


def _as_text(value: Any) -> str:
    """Return a value of TOML as `train --set` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ",".join(f"{key}:{_as_text(item)}" for key, item in value.items())
    return ",".join(map(_as_text, value)) if isinstance(value, list) else str(value)


def _as_toml(value: Any) -> str:
    if isinstance(value, ByLayer):
        return "{" + ", ".join(f"{json.dumps(prefix)} = {number}" for prefix, number in value.numbers) + "}"
    if isinstance(value, tuple):
        return str(list(value))
    return str(value) if isinstance(value, float) else json.dumps("none" if value is None else value)
