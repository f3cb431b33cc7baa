"""docs/reference/metrics.md names the keys that a run and the commands write: all of them, and no other."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from page_tables import REFERENCE, named_in_table, section

from freelight.shards import Dataset
from freelight.train import METRICS, NetworkConfig, Recipe, TrainingConfig, fit

PAGE = REFERENCE / "metrics.md"
VALIDATION = "A validation's line comes at the end of an epoch, if the dataset has a split `val`:"
OLD = Path(__file__).parents[1] / "data/release-0.1/dataset"
"""Twenty images of train and ten of val, at 66 pixels."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs, with a frozen layer."""
    network = NetworkConfig(width=0.01)
    settings: Any = {"crop_size": 64, "batch_size": 8, "epochs": 2, "schedule": "steps", "conv1_freeze_epoch": 0}
    recipe = Recipe(name="small", network=network, learning_rate=0.001, **settings)
    out = tmp_path_factory.mktemp("results") / "run"
    fit(
        TrainingConfig(
            shards=str(OLD), out=out, recipe=recipe, compile_=False, log_every=1, num_threads=1, lines="none"
        )
    )
    return out


def test_the_page_names_the_keys_of_metrics(run: Path) -> None:
    lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    validations = [set(line) for line in lines if "val_top1" in line]
    steps = [set(line) for line in lines if "val_top1" not in line]
    assert len(validations) == 2
    assert all(keys == named_in_table(PAGE, VALIDATION) for keys in validations)
    named = named_in_table(PAGE, "## A run's metrics.jsonl") - {"learning_rate_LAYER"} | {"learning_rate_conv1"}
    assert all(keys == named for keys in steps)


def test_the_page_names_the_files_of_a_run_and_what_it_says_of_the_machine(run: Path) -> None:
    assert set(json.loads((run / "environment.json").read_text())) == named_in_table(PAGE, "### environment.json")
    written = {path.name for path in run.iterdir()} - {METRICS}
    later = {"report.html", "features/", "step-00000300.pt"}
    steps = {name for name in written if name.startswith("step-")}
    assert named_in_table(PAGE, "## The other files of a run") == written - steps | later


def lines_of(command: str, *words: object) -> list[str]:
    """Run a command with `--json`, and return the lines of its standard output."""
    name = "train.cli" if command == "train" else f"commands.{command.replace('-', '_')}"
    module = import_module(f"freelight.{name}")
    done = CliRunner().invoke(module.main if command == "train" else module.command, [*map(str, words), "--json"])
    assert done.exit_code in (0, 1), done.output
    return done.stdout.splitlines()


def nested_keys(content: Any) -> Iterator[str]:
    """Yield the keys of all objects in the lists of a document, and in those lists' objects."""
    for value in content.values():
        for item in value if isinstance(value, list) else []:
            if isinstance(item, dict):
                yield from item
                yield from nested_keys(item)


@pytest.mark.slow
def test_the_page_names_the_keys_of_every_json_document(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    shards, checkpoint = ("--shards", OLD), ("--checkpoint", run / "last.pt")
    pictures = tmp_path / "pictures"
    short = ("--width", 0.01, "--set", "crop_size=64", "--batch-size", 4, "--epochs", 1, "--no-compile")
    commands: dict[str, tuple[object, ...]] = {
        "draw-pictures": ("--out", pictures, "--train-per-class", 2, "--val-per-class", 1),
        "make-shards": ("--images", pictures, "--out", tmp_path / "made", "--size", 32),
        "verify-shards": shards,
        "decode": (*shards, "--decoded", tmp_path / "pixels", "--split", "val"),
        "preview": ("--shards", dataset.folder, "--out", tmp_path / "preview.png", "--rows", 2),
        "train": (*shards, "--out", tmp_path / "run", "--recipe", "source", *short),
        "evaluate": (*checkpoint, *shards, "--per-class", "--predictions", tmp_path / "predictions.npz"),
        "find-similar": (*checkpoint, *shards, "--features", tmp_path / "features", "--rows", 1),
        "export": (*checkpoint, "--out", tmp_path / "network.pt"),
        "report": ("--run", run, "--out", tmp_path / "report.html"),
        "reproduce": ("table1", "--data", tmp_path, "--out", tmp_path / "table1"),
        "benchmark": ("pca", "--shards", dataset.folder, "--incremental", 2, "--rounds", 1),
    }
    for command, words in commands.items():
        content = json.loads("\n".join(lines_of(command, *words)))
        heading = f"### {command}"
        assert set(content) == named_in_table(PAGE, heading), command
        if command not in ("reproduce", "benchmark"):
            missing = {key for key in nested_keys(content) if f"`{key}`" not in section(PAGE, heading)}
            assert missing == set(), command
    (line,) = lines_of("predict", *checkpoint, next((pictures / "val").rglob("*.JPEG")))
    assert set(json.loads(line)) == named_in_table(PAGE, "### predict")
    with np.load(tmp_path / "predictions.npz") as arrays:
        assert set(arrays) == named_in_table(PAGE, "### Predictions")
    note = json.loads((tmp_path / "features" / "train.fc7.json").read_text())
    assert set(note) == named_in_table(PAGE, "### Features")
    for words, keys in (
        (("--images", pictures, "--out", tmp_path / "new", "--dry-run"), {"source", "layout", "lines"}),
        (("--out", tmp_path / "made", "--repair"), {"dataset", "repaired", "fingerprint"}),
    ):
        assert set(json.loads("\n".join(lines_of("make-shards", *words)))) == keys
