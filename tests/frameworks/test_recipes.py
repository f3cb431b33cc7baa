"""The published recipes of `examples/` in the peers' environment, at small size: they train, test, resume exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from framework_runs import Place, run, run_killed_and_resumed

from freelight.benchmarks.peers import HOME, find_peer
from freelight.shards import Dataset

PYTHON = find_peer("torchvision", HOME)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peers,
    pytest.mark.skipif(PYTHON is None, reason="timm's environment is absent; make it with: tools/benchmark peers"),
]
RIGHT = r"epoch \d: (\S+) % of val are right"
SMALL = ("--epochs", "2", "--batch", "24", "--save-every", "1", "--precision", "float32")
RECIPES = {
    "v1": ("resnet50.py", "--recipe", "v1", "--model", "resnet18", "--scale", "0.25"),
    "v2": ("resnet50.py", "--recipe", "v2", "--model", "resnet18", "--scale", "0.25"),
    "ffcv": ("resnet50.py", "--recipe", "ffcv", "--model", "resnet18", "--scale", "0.25"),
    "deit": ("timm_vit.py", "--recipe", "deit", "--model", "deit_tiny_patch16_224", "--scale", "0.5"),
    "a3": ("timm_vit.py", "--recipe", "a3", "--model", "resnet18", "--scale", "0.25"),
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the last checkpoint, and their average if there is one."""
    saved = torch.load(folder / "last.pt")
    parts = {part: saved[part] for part in ("net", "average") if part in saved}
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}


def check_weights(folder: Path) -> None:
    """Compare those of the runs `a` and `b`, bit by bit."""
    first, second = weights(folder / "a"), weights(folder / "b")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("recipe", "processes"), [("v1", 2), ("v2", 1), ("ffcv", 1), ("deit", 1), ("a3", 1)])
def test_a_killed_run_resumes_with_the_samples_and_weights_of_an_unbroken_one(
    recipe: str, processes: int, dataset: Dataset, tmp_path: Path
) -> None:
    """Killed after the first of the second epoch's two steps. Each epoch ends with the accuracy on all of val."""
    example, *options = RECIPES[recipe]
    common: Any = {"processes": processes, "python": PYTHON}
    whole = run(example, dataset.folder, tmp_path / "a", *options, *SMALL, notes=tmp_path / "notes", **common)
    assert whole.status == 0, whole.output
    assert len(whole.numbers(RIGHT)) == 2
    for epoch in range(2):
        assert whole.epoch(epoch, "val") == list(range(20))
        assert len(whole.epoch(epoch)) == 48
    kill: Place = ("train", 1, 24)
    arguments = (dataset.folder, tmp_path / "b", *options, *SMALL)
    seen = run_killed_and_resumed(example, *arguments, notes=tmp_path / "again", kill=kill, **common)
    expected = {place: samples for place, samples in whole.batches.items() if place[0] == "train"}
    assert {place: samples for place, samples in seen.items() if place[0] == "train"} == expected
    check_weights(tmp_path)


def test_simclr_resumes_with_the_weights_of_an_unbroken_run(dataset: Dataset, tmp_path: Path) -> None:
    """Killed after the first of the second epoch's two steps, of 24 images in two views."""
    options: Any = {"processes": 2, "python": PYTHON}
    small = ("--model", "resnet18", "--scale", "0.25", *SMALL)
    whole = run("simclr.py", dataset.folder, tmp_path / "a", *small, notes=tmp_path / "notes", **options)
    assert whole.status == 0, whole.output
    assert len(whole.numbers(RIGHT)) == 2
    arguments = ("simclr.py", dataset.folder, tmp_path / "b", *small)
    assert run(*arguments, notes=tmp_path / "killed", kill=("train", 1, 24), **options).status == 1
    again = run(*arguments, notes=tmp_path / "resumed", **options)
    assert again.numbers(RIGHT) == whole.numbers(RIGHT)[1:], again.output
    check_weights(tmp_path)
