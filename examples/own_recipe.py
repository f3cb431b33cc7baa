"""Write a recipe of your own and print what it holds: `python examples/own_recipe.py`.

docs/howto/add-a-recipe.md explains the parts. Settings that are not stated are those of the recipe `paper`.
"""

from freelight.train import Header, NetworkConfig, Recipe
from freelight.train.recipes import name_with_changes, recipe_table

MINE = Recipe(
    name="mine",
    header=Header(
        summary="A quarter of the width, with a schedule of fixed drops.",
        command="python examples/own_recipe.py",
        published=(),
        note="an example",
        hardware="two CPU cores",
        status="not run",
    ),
    network=NetworkConfig(width=0.25),
    batch_size=64,
    epochs=12,
    schedule="steps",
    drop_epochs=(9, 11),
    bias_drop_epochs=(9, 11),
)

if __name__ == "__main__":
    print(f"{name_with_changes(MINE)}\n\n{recipe_table(MINE)}")
