"""A recipe from outside the package works like a published one: tables, training, evaluation, report."""

import dataclasses
from pathlib import Path

import pytest

from freelight.shards import Dataset, FreelightError
from freelight.train import (
    RECIPES,
    Checkpoint,
    Header,
    NetworkConfig,
    PublishedError,
    Recipe,
    TrainingConfig,
    fit,
    predict_split,
)
from freelight.train.describe import describe
from freelight.train.inspection.report import report
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


def test_it_trains_resumes_evaluates_and_reports(dataset: Dataset, tmp_path: Path) -> None:
    config = TrainingConfig(
        shards=str(dataset.folder), out=tmp_path, recipe=MINE, num_threads=1, log_every=1, compile_=False
    )
    result = fit(config)
    assert [epoch.step for epoch in result.metrics.epochs] == [3]
    trained = Checkpoint.load(result.checkpoint)
    assert (trained.recipe, trained.recipe.header) == (MINE, MINE.header)

    renamed = dataclasses.replace(MINE, header=Header(summary="Another text."))
    assert fit(dataclasses.replace(config, recipe=renamed)).metrics == result.metrics, "text is no setting"
    with pytest.raises(FreelightError, match=r"other settings \(batch_size: 20 then, 10 now\); use the earlier ones"):
        fit(dataclasses.replace(config, recipe=dataclasses.replace(MINE, batch_size=10)))

    found = predict_split(trained, dataset, "val", views=1)
    assert found is not None
    assert found.probabilities.shape == (20, 10)
    page = report(tmp_path, dataset)
    assert "mine (compared with paper), with batch_size=20, epochs=1, width=0.05" in page
    for text in ("my pictures, centre view", "25.0", "12.5"):
        assert text in page
