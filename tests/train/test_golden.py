"""Twenty steps of each recipe equal a plain transcription of docs/design/paper.md, in float64.

Within five epochs of four steps, rates drop, lighting noise ends, and conv1 slows down and freezes. The pixels and the
dropout masks are given; network, loss, update rule and schedule are implemented again here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F

from freelight.pipeline import Batch, Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset, ShardSettings, Statistics, compute_statistics, list_images, make_shards
from freelight.train import Checkpoint, Columns, DropoutMasks, Network, NetworkConfig
from freelight.train.run_folder import RunFolder

SOURCE = (
    "--set bias_learning_rate=0.002 --set lighting_off_epoch=2 --set bias_drop_epochs=2 --set drop_epochs=1,4 "
    "--set conv1_slow_epoch=3 --set conv1_slow_rate=0.0001 --set conv1_freeze_epoch=4"
)
COMMANDS = {
    "paper": "--recipe paper --set plateau_epochs=1",
    "source": f"--recipe source {SOURCE}",
    "source-scripted": f"--recipe source-scripted {SOURCE} --set conv1_slow_epoch=none --set conv1_freeze_epoch=none",
}
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def few(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 training samples: four steps an epoch, the last of two images."""
    folder = tmp_path_factory.mktemp("few") / "dataset"
    make_shards(list_images(pictures, val_fraction=None, seed=0), folder, ShardSettings(limit=22))
    made = Dataset(folder)
    assert len(made.split("train")) == 20, "two of the 22 pictures do not decode"
    compute_statistics(made).save(folder)
    return made


def response_norm(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """Over five maps of a column; torch divides its alpha by five."""
    return torch.cat([F.local_response_norm(half, 5, alpha=5 * alpha, beta=0.75, k=2) for half in x.chunk(2, 1)], 1)


def second_norm(x: torch.Tensor) -> torch.Tensor:
    n, maps, side, _ = x.shape
    ones = torch.ones(1, 1, 5, 5, dtype=x.dtype)
    sums = F.conv2d((x * x).reshape(n * maps, 1, side, side), ones, padding=2).reshape(x.shape)
    return x / (1 + 4e-5 * sums) ** 0.75


def logits(recipe: str, w: Tensors, x: torch.Tensor, masks: Tensors) -> torch.Tensor:
    """docs/design/paper.md sections 3 and 6."""
    source = recipe != "paper"
    alpha = 2e-5 if source else 1e-4
    x = F.conv2d(F.pad(x, (0, 3, 0, 3)), w["conv1.weight"], w["conv1.bias"], stride=4)
    if source:
        x = F.relu(F.max_pool2d(response_norm(x, alpha), 3, 2))
    else:
        x = F.max_pool2d(response_norm(F.relu(x), alpha), 3, 2)
    x = response_norm(F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding=2, groups=2)), alpha)
    x = F.max_pool2d(second_norm(x) if source else x, 3, 2)
    x = F.relu(F.conv2d(x, w["conv3.weight"], w["conv3.bias"], padding=1))
    x = F.relu(F.conv2d(x, w["conv4.weight"], w["conv4.bias"], padding=1, groups=2))
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv5.weight"], w["conv5.bias"], padding=1, groups=2)), 3, 2).flatten(1)
    for name in ("fc6", "fc7"):
        x = F.relu(x @ w[f"{name}.weight"].T + w[f"{name}.bias"]) * masks[name]
    return x @ w["fc8.weight"].T + w["fc8.bias"]


def rate_of(recipe: str, parameter: str, epoch: int, drops: int) -> float | None:
    """docs/design/paper.md section 6, with the epochs of the commands above. drops: number of plateau drops so far."""
    bias = parameter.endswith("bias")
    if recipe == "paper":
        return 0.001 / 10**drops
    if recipe == "source" and parameter.startswith("conv1") and epoch >= 3:
        return 0.0001 if epoch == 3 else None
    if bias:
        return 0.002 if epoch < 2 else 0.0002
    if recipe == "source":
        return [0.001, 0.0001, 0.0001, 0.0001, 0.00001][epoch]
    return float(0.001 / 250 ** ([0, 0, 1, 2, 3][epoch] / 3))  # four equal parts of five epochs


def batches(recipe: str, dataset: Dataset) -> Iterator[tuple[int, Batch]]:
    statistics = Statistics.load(dataset.folder)
    for epoch in range(5):
        if recipe == "paper":
            transform = Transform(mean="image", lighting=Lighting(mode="eigenvalue", strength=0.1))
        else:
            lighting = Lighting(mode="std" if epoch < 2 else "off", strength=0.1, divisor=1.1)
            transform = Transform(crop=RandomCrop(shared_by=32), mean="center window", lighting=lighting)
        order = "global" if recipe == "paper" else "sequential"
        loader = Loader(
            dataset, "train", batch_size=6, transform=transform, statistics=statistics, order=order, num_threads=1
        )
        loader.set_epoch(epoch)
        yield from ((epoch, batch) for batch in loader)


class Transcription(NamedTuple):
    weights: Tensors
    velocity: Tensors
    losses: list[float]
    drops: int


def transcribe(recipe: str, dataset: Dataset, errors: list[float]) -> Transcription:
    """errors: on val after each epoch; they decide the plateaus."""
    std = 0.01 if recipe == "paper" else 0.03
    network = Network(NetworkConfig(width=0.05, upper_conv_std=std), classes=10, seed=0).double()
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in network.named_parameters()}
    velocity = {name: torch.zeros_like(parameter) for name, parameter in weights.items()}
    losses: list[float] = []
    for step, (epoch, batch) in enumerate(batches(recipe, dataset)):
        drops = sum(error >= min(errors[:index], default=9) for index, error in enumerate(errors[:epoch]))
        ones = torch.ones(len(batch.labels), 204)
        masks = {name: DropoutMasks(0, step).apply(ones, name, 0.5, Columns()).double() for name in ("fc6", "fc7")}
        loss = F.cross_entropy(logits(recipe, weights, batch.images.double(), masks), batch.labels)
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for name, w in weights.items():
                rate = rate_of(recipe, name, epoch, drops)
                decay = 0.0 if recipe != "paper" and name.endswith("bias") else 0.0005
                if rate is not None:
                    velocity[name] = 0.9 * velocity[name] - decay * rate * w - rate * w.grad
                    w += velocity[name]
                w.grad = None
    return Transcription({name: w.detach() for name, w in weights.items()}, velocity, losses, drops)


@pytest.mark.parametrize("recipe", COMMANDS)
def test_twenty_steps_of_a_recipe_equal_its_transcription(
    recipe: str, train_on: Any, few: Dataset, tmp_path: Path
) -> None:
    result = train_on(few).here(tmp_path, f"{COMMANDS[recipe]} --epochs 5 --set batch_size=6 --set precision=float64")
    assert result.exit_code == 0, result.output
    metrics = RunFolder(tmp_path).metrics()
    expected = transcribe(recipe, few, [epoch.val_top1 for epoch in metrics.epochs])
    assert [step.loss for step in metrics.steps] == pytest.approx(expected.losses, rel=1e-9)
    if recipe == "paper":
        assert expected.drops > 0, "no drop was crossed"
    trained = Checkpoint.load(tmp_path / "last.pt")
    assert trained.progress["step"] == len(expected.losses) == 20
    for kind, ours, theirs in (
        ("weights", trained.weights, expected.weights),
        ("velocity", trained.velocity, expected.velocity),
    ):
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            error = (ours[name] - tensor).abs().max() / tensor.abs().max()
            assert error < 1e-9, f"{kind} of {name}: {error}"
