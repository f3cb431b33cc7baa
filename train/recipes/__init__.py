"""Recipes: complete, named sets of training settings, each with its source, published errors and command.

Your own is `Recipe(name="mine", ...)`; it works wherever a published one does.
"""

from .by_layer import ByLayer
from .header import Header, PublishedError
from .published import RECIPES, load_recipe, name_with_changes
from .recipe import Recipe
from .table import recipe_rows, recipe_table

__all__ = [
    "RECIPES",
    "ByLayer",
    "Header",
    "PublishedError",
    "Recipe",
    "load_recipe",
    "name_with_changes",
    "recipe_rows",
    "recipe_table",
]
