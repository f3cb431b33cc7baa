"""The recipes that `train --recipe` offers, by name. Your own recipe does not need to be in this list."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .cifar import CIFAR_11PCT, CIFAR_13PCT, CIFAR_18PCT, CIFAR_19PCT
from .paper import PAPER
from .recipe import Recipe
from .source import SOURCE, SOURCE_SCRIPTED

RECIPES = {
    recipe.name: recipe
    for recipe in (PAPER, SOURCE, SOURCE_SCRIPTED, CIFAR_19PCT, CIFAR_18PCT, CIFAR_13PCT, CIFAR_11PCT)
}


def load_recipe(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.asdict` turned into plain values, for example in a checkpoint.

    Checkpoints of release 0.1 hold no header; they get that of the published recipe of the same name.
    """
    recipe = Recipe.fromdict(values)
    known = RECIPES.get(recipe.name)
    return recipe if "header" in values or known is None else replace(recipe, header=known.header)


def name_with_changes(recipe: Recipe) -> str:
    """Return a recipe's name and every setting that differs from the published recipe of that name.

    A recipe of another name is compared with `paper`, whose settings are the defaults.
    """
    known = RECIPES.get(recipe.name)
    changes = recipe.differences(known or PAPER)
    listed = ", ".join(f"{key}={value}" for key, value in changes.items())
    name = recipe.name if known else f"{recipe.name} (compared with {PAPER.name})"
    return f"{name}, with {listed}" if listed else name
