"""Recipes: complete, named sets of training settings, each with its source, published errors and command.

Your own is `Recipe(name="mine", ...)`, or a TOML file; it works wherever a published one does.
"""

from .by_layer import ByLayer
from .header import Header, PublishedError
from .published import RECIPES, load_recipe, name_with_changes
from .recipe import Recipe
from .table import described_settings, recipe_rows, recipe_table
from .toml_file import find_recipe, read_recipe, write_recipe

__all__ = [
    "RECIPES",
    "ByLayer",
    "Header",
    "PublishedError",
    "Recipe",
    "described_settings",
    "find_recipe",
    "load_recipe",
    "name_with_changes",
    "read_recipe",
    "recipe_rows",
    "recipe_table",
    "write_recipe",
]
