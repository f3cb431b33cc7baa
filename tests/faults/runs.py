"""Runs of `train`: the command, its lines of metrics, and whether two runs are the same."""

import json
from pathlib import Path
from typing import Any

import torch

from freelight.train import Checkpoint

STEPS = 20
"""Steps in an epoch."""


def training(shards: Path | str, out: Path, columns: int = 1, *more: object) -> list[object]:
    """Return the command: two epochs of 20 steps, a checkpoint after every third step and every epoch."""
    usual = "--no-compile --width 0.05 --threads 1 --epochs 2 --set batch_size=10 --set learning_rate=0.001"
    often = "--log-every 1 --checkpoint-every 3 --columns"
    return ["train", "--shards", shards, "--out", out, *usual.split(), *often.split(), columns, *more]


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return the whole lines of `metrics.jsonl`, which a run under way may be writing."""
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def results(out: Path) -> list[tuple[Any, ...]]:
    """Return what a run's metrics say of the data, and nothing of the time."""
    keys = ("step", "epoch", "position", "loss", "train_top1", "gradient_norm", "weight_norm", "val_top1", "val_top5")
    return [tuple(line.get(key) for key in keys) for line in metrics(out)]


def assert_same_run(out: Path, whole: Path) -> None:
    """Weights, velocity, state and metrics are equal to the last bit."""
    one, other = (Checkpoint.load(folder / "last.pt") for folder in (out, whole))
    assert one.progress == other.progress
    for ours, theirs in ((one.weights, other.weights), (one.velocity, other.velocity)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert results(out) == results(whole)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
