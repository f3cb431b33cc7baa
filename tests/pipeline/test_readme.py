"""The README's code runs unchanged, and a dataset of ImageNet's size needs little memory."""

import sys
import tracemalloc
import types
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from torch import nn

from freelight.benchmarks.readme_block import readme_block, run_block
from freelight.benchmarks.repeated import repeat_samples
from freelight.pipeline import Lighting, Loader, RandomCrop, RandomResizedCrop, Transform
from freelight.shards import Dataset

IMAGENET = 1_281_167


class Residual(nn.Module):
    """A block of a residual net, x + f(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def small_residual_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=8, stride=8),
        Residual(16),
        Residual(16),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.BatchNorm1d(256),
        nn.Linear(256, 10),
    )


def test_the_readmes_lines_train_a_small_residual_net(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the pictures of one batch."""
    torchvision = types.ModuleType("torchvision")
    torchvision.models = types.SimpleNamespace(resnet50=small_residual_net)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    torch.manual_seed(0)
    few = repeat_samples(dataset, "train", 20, tmp_path / "few")
    losses = run_block(readme_block(), few.folder, batch=20, steps=20)
    assert len(losses) == 20
    assert mean(losses[-5:]) < 0.8 * mean(losses[:5]), losses


def test_the_readmes_lines_are_twelve() -> None:
    assert len([line for line in readme_block().splitlines() if line]) <= 12


@pytest.mark.parametrize(
    ("crop", "weighted"),
    [
        (RandomCrop(shared_by=32), False),
        (RandomResizedCrop(), False),
        pytest.param(RandomResizedCrop(), True, marks=pytest.mark.slow),
    ],
)
def test_order_and_draws_of_imagenet_take_less_than_200_megabytes(
    crop: RandomCrop | RandomResizedCrop, weighted: bool, dataset: Dataset, tmp_path: Path
) -> None:
    """Peak memory, including the samples table; and the first batch arrives. (Benchmarks measure the time.)"""
    large = repeat_samples(dataset, "train", IMAGENET, tmp_path / "large")
    transform = Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    weights = np.arange(IMAGENET, dtype=np.float64) if weighted else None
    tracemalloc.start()
    try:
        loader = Loader(large, "train", batch_size=8, transform=transform, weights=weights)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 50e6 < peak <= 200e6
    assert len(loader) == -(-IMAGENET // 8)
    iteration = iter(loader)
    assert len(next(iteration).images) == 8
