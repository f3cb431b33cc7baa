"""The examples inside Lightning, Accelerate, Ignite and torchdata: every sample once, and exact resumption."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from framework_runs import Ended, Place, run, run_killed_and_resumed

from freelight.shards import Dataset

pytestmark = pytest.mark.slow

EXAMPLES = [
    ("in_lightning.py", 0),
    ("in_lightning.py", 2),
    ("in_accelerate.py", 2),
    ("in_ignite.py", 0),
    ("in_ignite.py", 2),
    ("in_torchdata.py", 0),
]
"""Example, and number of gloo processes; 0: without torchrun."""
SAVED = {
    "in_lightning.py": "last.ckpt",
    "in_accelerate.py": "last/model.safetensors",
    "in_ignite.py": "last.pt",
    "in_torchdata.py": "last.pt",
}


def weights(example: str, out: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the last checkpoint."""
    path = out / SAVED[example]
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        loaded: dict[str, torch.Tensor] = load_file(path)
        return loaded
    saved: dict[str, Any] = torch.load(path, weights_only=False)
    found: dict[str, torch.Tensor] = next(saved[key] for key in ("state_dict", "model", "net") if key in saved)
    return found


@pytest.fixture(scope="module")
def unbroken(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], tuple[Ended, Path]]:
    """Run each example for its three epochs."""
    runs = {}
    for example, processes in EXAMPLES:
        out = tmp_path_factory.mktemp(example.removesuffix(".py"))
        ended = run(example, dataset.folder, out, notes=out / "notes", processes=processes)
        assert ended.status == 0, ended.output
        runs[example, processes] = ended, out
    return runs


@pytest.mark.parametrize(("example", "processes"), EXAMPLES)
def test_every_sample_comes_once_per_epoch_over_all_ranks(
    example: str, processes: int, unbroken: dict[tuple[str, int], tuple[Ended, Path]]
) -> None:
    """60 samples in batches of 16: the last has 12. Lightning's sanity check, two batches, costs no validation."""
    ended, _ = unbroken[example, processes]
    for epoch in range(3):
        assert ended.epoch(epoch) == list(range(60))
        if example == "in_lightning.py":
            checked = list(range(16)) if epoch == 0 else []
            assert ended.epoch(epoch, "val") == sorted([*range(20), *checked])
    assert {place[1] for place in ended.batches} == {0, 1, 2}


@pytest.mark.parametrize(("example", "processes"), EXAMPLES)
@pytest.mark.parametrize("kill", [("train", 0, 32), ("train", 1, 0), ("train", 1, 48)], ids=str)
def test_a_killed_run_resumes_with_the_samples_and_weights_of_an_unbroken_one(
    kill: Place,
    example: str,
    processes: int,
    unbroken: dict[tuple[str, int], tuple[Ended, Path]],
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    """By the framework's own checkpoint: inside an epoch, at its start, and in the short last batch."""
    whole, out = unbroken[example, processes]
    arguments = (dataset.folder, tmp_path)
    seen = run_killed_and_resumed(example, *arguments, notes=tmp_path / "notes", kill=kill, processes=processes)
    expected = {place: samples for place, samples in whole.batches.items() if place[0] == "train"}
    assert {place: samples for place, samples in seen.items() if place[0] == "train"} == expected
    first, second = weights(example, out), weights(example, tmp_path)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_lightning_with_limited_batches_has_epochs_of_their_length(dataset: Dataset, tmp_path: Path) -> None:
    """`limit_train_batches=3` of four: each epoch has 48 samples, of its own permutation."""
    ended = run("in_lightning.py", dataset.folder, tmp_path, "3", notes=tmp_path / "notes")
    assert ended.status == 0, ended.output
    for epoch in range(3):
        assert len(ended.epoch(epoch)) == len(set(ended.epoch(epoch))) == 48


@pytest.mark.parametrize("processes", [0, 2])
def test_ignite_with_another_epoch_length_continues_through_the_permutations(
    processes: int, dataset: Dataset, tmp_path: Path
) -> None:
    """`epoch_length=6` with four steps a permutation: three epochs have 18 steps, four permutations and a half."""
    ended = run("in_ignite.py", dataset.folder, tmp_path, "6", notes=tmp_path / "notes", processes=processes)
    assert ended.status == 0, ended.output
    steps = [samples for _, samples in sorted(ended.batches.items())]
    assert len(steps) == 18
    for first in range(0, 16, 4):
        assert sorted(itertools.chain(*steps[first : first + 4])) == list(range(60))
