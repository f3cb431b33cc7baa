"""`fit` trains the same as the command, also from a script and a notebook, and returns how the run ended."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from freelight.pipeline import Batch, Loader
from freelight.shards import Dataset, FreelightError
from freelight.train import RECIPES, Checkpoint, RunFolder, TrainingConfig, fit

SETTINGS = ["batch_size=16", "learning_rate=0.001", "width=0.05", "epochs=2"]
"""The options of the fixtures `run` and `two_column_run`."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

SCRIPT = """
import sys
from pathlib import Path
from freelight.train import RECIPES, TrainingConfig, fit

if __name__ == "__main__":
    recipe = RECIPES["paper"].override({settings})
    result = fit(
        TrainingConfig(
            shards=sys.argv[1], out=Path(sys.argv[2]), recipe=recipe, num_threads=1, log_every=1, compile_=False
        ),
        columns=2,
    )
    print(result.metrics.epochs[-1].epoch, result.stopped_by)
"""


@pytest.fixture
def config(dataset: Dataset, tmp_path: Path) -> TrainingConfig:
    return TrainingConfig(
        shards=str(dataset.folder),
        out=tmp_path / "runs" / "mine",
        recipe=RECIPES["paper"].override(SETTINGS),
        num_threads=1,
        log_every=1,
        compile_=False,
    )


def assert_same_weights(ours: Path, theirs: Path) -> None:
    one, other = (Checkpoint.load(path).weights for path in (ours, theirs))
    assert one.keys() == other.keys()
    for name, weights in one.items():
        assert torch.equal(weights, other[name]), name


def test_it_trains_the_weights_that_the_command_trains(config: TrainingConfig, run: Path) -> None:
    result = fit(config)
    assert_same_weights(result.checkpoint, run / "last.pt")
    assert (result.checkpoint, result.folder.path) == (config.out / "last.pt", config.out)
    assert result.stopped_by is None
    theirs = RunFolder(run).metrics()
    assert result.metrics.epochs == theirs.epochs
    assert [step.loss for step in result.metrics.steps] == [step.loss for step in theirs.steps]
    assert fit(config).metrics == result.metrics, "a finished run is left as it is"


def test_a_signal_ends_it_without_ending_the_caller_and_the_next_call_resumes(
    config: TrainingConfig, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = Loader.__iter__, []

    def interrupted(loader: Loader) -> Iterator[Batch]:
        for batch in plain(loader):
            if not asked:
                asked.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(Loader, "__iter__", interrupted)
    first = fit(config)
    assert (first.stopped_by, [step.step for step in first.metrics.steps]) == (signal.SIGINT, [1])
    assert fit(config).stopped_by is None
    assert_same_weights(first.checkpoint, run / "last.pt")


def test_an_error_names_arguments(config: TrainingConfig) -> None:
    with pytest.raises(FreelightError, match=r"`checkpoint_every` \(=0\) must be at least 1"):
        TrainingConfig(shards=config.shards, out=config.out, recipe=config.recipe, checkpoint_every=0)
    with pytest.raises(FreelightError, match=r"`columns` \(=2\) must divide"):
        fit(TrainingConfig(shards=config.shards, out=config.out, recipe=RECIPES["cifar-11pct"]), columns=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": None}, r"`seed` \(=None\) must be a whole number"),
        ({"seed": 1.0}, r"`seed` \(=1.0\) must be a whole number"),
        ({"keep": True}, r"`keep` \(=True\) must be a whole number"),
        ({"checkpoint_minutes": "5"}, r"`checkpoint_minutes` \(='5'\) must be a number or None"),
        ({"compile_": 1}, r"`compile_` \(=1\) must be true or false"),
        ({"recipe": "paper"}, r"`recipe` \(='paper'\) must be a Recipe"),
        ({"out": None}, r"`out` \(=None\) must be a Path"),
    ],
)
def test_a_setting_of_a_wrong_type_is_named(settings: dict[str, Any], message: str, config: TrainingConfig) -> None:
    with pytest.raises(FreelightError, match=message):
        dataclasses.replace(config, **settings)


def test_numpys_numbers_and_paths_as_text_are_settings_too(config: TrainingConfig) -> None:
    taken = dataclasses.replace(config, seed=np.int64(3), keep=np.uint8(1), init_from="x.pt")  # type: ignore[arg-type]
    assert (taken.seed, taken.keep, taken.init_from) == (3, 1, Path("x.pt"))
    assert type(taken.seed) is int, "torch would not read a NumPy number out of a checkpoint"
    for arguments in ({"columns": 0}, {"columns": 2.0}, {"replicas": 0}):
        with pytest.raises(FreelightError, match=r"`(columns|replicas)` \(=[\d.]+\) must be"):
            fit(config, **arguments)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["script", "notebook"])
def test_it_starts_its_ranks_from_a_script_and_from_a_notebook(
    how: str, dataset: Dataset, two_column_run: Path, tmp_path: Path
) -> None:
    """A notebook's main module has no file, as with `python -c`."""
    text = SCRIPT.replace("{settings}", repr(SETTINGS))
    (tmp_path / "mine.py").write_text(text)
    program = [tmp_path / "mine.py"] if how == "script" else ["-c", text]
    words = [sys.executable, *program, dataset.folder, tmp_path / "out"]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 None"), done.stderr
    assert_same_weights(tmp_path / "out" / "last.pt", two_column_run / "last.pt")
