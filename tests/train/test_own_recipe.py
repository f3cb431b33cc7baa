"""A recipe from outside the package works wherever a published one does: tables, training, evaluation, report."""

from freelight.train import RECIPES, Header, NetworkConfig, PublishedError, Recipe
from freelight.train.describe import describe
from freelight.train.recipes import name_with_changes, recipe_rows, recipe_table

MINE = Recipe(
    name="mine",
    header=Header(
        summary="One epoch of a small network.",
        command="python mine.py",
        published=(PublishedError(source="me", measured="my pictures, centre view", top1=0.25, top5=0.125),),
    ),
    network=NetworkConfig(width=0.05),
    batch_size=20,
    epochs=1,
)


def test_its_tables_hold_its_header_if_it_has_one() -> None:
    assert recipe_table(MINE).startswith(
        "One epoch of a small network.\n"
        "command:   python mine.py\n"
        "published: my pictures, centre view (me): 25.0 / 12.5 % top-1 / top-5 error\n"
        "\n"
        "rescale "
    )
    assert recipe_table(Recipe(name="bare")).startswith("recipe bare\n\nrescale ")
    assert recipe_rows(Recipe(name="bare")) == recipe_rows(RECIPES["paper"])
    assert describe(MINE, 10).startswith("alexnet, 224 x 224 pixels, 10 classes: ")
    assert name_with_changes(MINE) == "mine (compared with paper), with batch_size=20, epochs=1, width=0.05"
    assert name_with_changes(RECIPES["source"].override(["epochs=3"])) == "source, with epochs=3"
    assert name_with_changes(RECIPES["source"]) == "source"
