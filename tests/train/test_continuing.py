"""A run may be trained for more epochs than it was started with, and keeps every start in its checkpoints."""

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

from freelight.shards import Dataset, FreelightError, Statistics
from freelight.shards.base import Command, say, typed_command
from freelight.train import RECIPES, Checkpoint
from freelight.train.inspection import report
from freelight.train.resume import check_same_run
from freelight.train.run_folder import RunFolder


def test_more_epochs_on_a_finished_run_end_as_if_it_had_had_them_from_the_start(
    train: Any, run: Path, tmp_path: Path
) -> None:
    assert train.here(tmp_path, "--epochs 1").exit_code == 0
    result = train.here(tmp_path)
    assert result.stdout.startswith(f"resuming {tmp_path} after step 4; epochs raised from 1 to 2\n")
    whole, raised = (Checkpoint.load(out / "last.pt") for out in (run, tmp_path))
    assert all(torch.equal(raised.weights[name], weights) for name, weights in whole.weights.items())
    assert [step.loss for step in RunFolder(tmp_path).metrics().steps] == [
        step.loss for step in RunFolder(run).metrics().steps
    ]
    usual = " ".join(train.words(tmp_path))
    assert raised.history == [
        {"step": 0, "epochs": 1, "command": f"train {usual} --epochs 1"},
        {"step": 4, "epochs": 2, "command": f"train {usual}"},
    ]
    assert [start["epochs"] for start in whole.history] == [2]
    (tmp_path / "best.pt").unlink()  # of the first epoch: the report would show that one
    page = report(tmp_path, None)
    assert f"<td>command</td><td>train {usual} --epochs 1</td>" in page
    assert f"<td>from step 4 on, to 2 epochs</td><td>train {usual}</td>" in page


def test_where_the_rates_depend_on_the_number_of_epochs_it_stays(run: Path, dataset: Dataset) -> None:
    def resume(**changes: Any) -> None:
        checkpoint = Checkpoint.load(run / "last.pt")
        recipe = dataclasses.replace(checkpoint.recipe, schedule=changes.get("schedule", "plateau"))
        check_same_run(
            dataclasses.replace(checkpoint, recipe=recipe),
            recipe=dataclasses.replace(recipe, **changes),
            seed=0,
            dataset=dataset,
            statistics=Statistics.load(dataset.folder),
            folder=Path("out"),
        )

    for schedule in ("plateau", "steps"):
        resume(schedule=schedule, epochs=3)
    with pytest.raises(FreelightError, match=r"\(epochs: 2 then, 3 now, on which all rates of the schedule 'exponen"):
        resume(schedule="exponential", epochs=3)
    with pytest.raises(FreelightError, match=r"\(epochs: 2 then, 1 now, though they may only be raised\); use the"):
        resume(epochs=1)


def test_a_run_that_ended_at_a_plateau_says_that_more_epochs_change_nothing(
    train: Any, run: Path, tmp_path: Path
) -> None:
    checkpoint = Checkpoint.load(run / "last.pt")
    schedule = {**checkpoint.progress["schedule"], "drops": RECIPES["paper"].plateau_drops + 1}
    dataclasses.replace(checkpoint, progress={**checkpoint.progress, "schedule": schedule}).save(tmp_path / "last.pt")
    result = train.here(tmp_path, "--epochs 9")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tmp_path} ended at a plateau of the validation error, not at epoch 2\n")


def test_a_command_is_noted_as_typed_but_for_passwords() -> None:
    @click.command(cls=Command, name="show")
    @click.argument("words", nargs=-1)
    @click.option("--shards")
    def show(words: tuple[str, ...], shards: str) -> None:
        say(typed_command())

    def noted(*words: str) -> str:
        return CliRunner().invoke(show, list(words)).stdout

    assert noted("../my photos", "--shards", "s3://bucket/a") == "show '../my photos' --shards s3://bucket/a\n"
    assert noted("--shards", "http://me:secret@host:80/a:b@c") == "show --shards http://me:***@host:80/a:b@c\n"
