"""An ablation changes one thing, in runs of equal seeds, and goes on where one diverged."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from click.testing import Result

from freelight.claims import ablation
from freelight.shards import Dataset
from freelight.train import RECIPES
from freelight.train.describe import describe

Reproduce = Callable[..., Result]


@pytest.mark.parametrize(("name", "measure"), [("half", 1 / 2), ("no-decay", 1)])
def test_an_ablation_pairs_runs_of_one_seed(
    name: str, measure: float, dataset: Dataset, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    """Ablations in one folder share the baseline; weight decay is measured by training error, as in the paper."""
    bases, others = [0.30, 0.34, 0.32], [0.36, 0.38, 0.36]

    def curve(command: str) -> list[float]:
        seed = int(re.findall(r"--seed (\d)", command)[0])
        return [0.9, bases[seed] if "baseline" in command else others[seed]]

    pretended.curve = curve
    words = ("--data", dataset.folder, "--out", tmp_path, "--width", "0.25", "--epochs", "2", "--set", "batch_size=64")
    result = reproduce(ablation.command, name, *words, "--columns", "2")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / f"ablation-{name}.json").read_text())
    assert record["figures"]["pairs"]["mean"] == pytest.approx(100 * measure * (mean(others) - mean(bases)))
    assert record["figures"]["baseline"] == pytest.approx([measure * base for base in bases])
    assert re.search(r"^0 .*\n1 .*\n2 .*\nmean ", result.stdout, re.MULTILINE)
    assert "--width 0.25 --epochs 2" in result.stdout
    assert len({part["seed"] for part in record["parts"]}) == 3
    assert len(pretended.commands) == 6
    reproduce(ablation.command, "no-lighting", *words, "--columns", "2")
    assert len(pretended.commands) == 9, "the three of the baseline were there"


@pytest.mark.parametrize("name", ablation.ABLATIONS)
def test_every_ablation_is_settings_that_train_takes_and_that_change_something(name: str) -> None:
    changed = RECIPES["paper"].override(ablation.ABLATIONS[name].settings)
    assert changed != RECIPES["paper"]
    assert "parameters in" in describe(changed, 10)


def test_zero_biases_are_compared_by_the_first_epoch(
    dataset: Dataset, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    """The paper says that learning is slower at first."""
    pretended.curve = lambda command: [0.9 if "initial_bias=0" in command else 0.8, 0.5]
    words = ("--data", dataset.folder, "--out", tmp_path, "--epochs", "2")
    result = reproduce(ablation.command, "zero-biases", *words)
    assert re.search(r"^zero-biases, training error .*no figure  \+10\.00 ", result.stdout, re.MULTILINE)
    assert "training error: top-1, mean over the first epoch" in result.stdout


def test_an_ablation_leaves_out_a_pair_that_diverged_and_goes_on(
    dataset: Dataset, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    def curve(command: str) -> list[float | None]:
        last = 0.1 * int(re.findall(r"--seed (\d)", command)[0]) + (0.2 if "half" in command else 0.1)
        return [0.9, None if "half-seed1" in command else last]

    pretended.curve = curve
    words = ("half", "--data", dataset.folder, "--out", tmp_path, "--epochs", "2")
    result = reproduce(ablation.command, *words)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("diverged and left out, with the other run of the pair: half at seed 1") == 2
    assert "half at seed 1" in result.stdout.splitlines()[-1]
    assert re.search(r"^1 +10\.00 +diverged +left out$", result.stdout, re.MULTILINE)
    assert re.search(r"^half, val error +\+1\.7 .* \+5\.00 \+- 0\.00 points  \+3\.30$", result.stdout, re.MULTILINE)
    assert json.loads((tmp_path / "ablation-half.json").read_text())["figures"]["half"][1] is None
    assert len(pretended.commands) == 6
    pretended.curve = lambda command: [None]
    result = reproduce(ablation.command, *words[:3], "--out", tmp_path / "none", "--epochs", "2")
    assert result.exit_code == 0, result.output
    assert "half: unknown: in every pair a run diverged; diverged" in result.stdout
