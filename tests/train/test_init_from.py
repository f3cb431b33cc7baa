"""A run starts with another run's layers that fit, prints which, and resumes only with the same options."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from freelight.shards import Dataset, FreelightError, Statistics
from freelight.train import Checkpoint, Network, NetworkConfig
from freelight.train.resume import check_same_run, init_from


@pytest.fixture
def checkpoint(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def with_classes(dataset: Dataset, order: list[int]) -> Dataset:
    """Return the dataset with its classes in this order."""
    other = Dataset(dataset.folder)
    classes = tuple(dataset.manifest.classes[label] for label in order)
    other.manifest = dataclasses.replace(dataset.manifest, classes=classes)
    return other


def copied_into(network: Network, checkpoint: Checkpoint) -> set[str]:
    """Return the layers whose weights and biases equal the checkpoint's."""
    parameters = dict(network.named_parameters())
    return {
        name.split(".")[0]
        for name, weights in checkpoint.weights.items()
        if name in parameters and torch.equal(parameters[name], weights)
    }


def test_the_same_network_and_classes_take_every_layer(checkpoint: Checkpoint, dataset: Dataset) -> None:
    network = Network(NetworkConfig(width=0.05), classes=10, seed=7)
    layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert init_from(checkpoint, network, dataset) == f"copied: {', '.join(layers)}; new: none"
    assert copied_into(network, checkpoint) == set(layers)


def test_the_same_classes_in_another_order_take_the_rows_of_their_ids(checkpoint: Checkpoint, dataset: Dataset) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    network = Network(NetworkConfig(width=0.05), classes=10, seed=7)
    init_from(checkpoint, network, with_classes(dataset, order))
    assert torch.equal(network.get_parameter("fc8.weight"), checkpoint.weights["fc8.weight"][order])


def test_other_classes_get_a_new_last_layer_though_it_has_the_same_shape(
    checkpoint: Checkpoint, dataset: Dataset
) -> None:
    other = with_classes(dataset, list(range(10)))
    first = dataclasses.replace(dataset.manifest.classes[0], id="n99999999")
    other.manifest = dataclasses.replace(other.manifest, classes=(first, *other.manifest.classes[1:]))
    network = Network(NetworkConfig(width=0.05), classes=10, seed=7)
    said = init_from(checkpoint, network, other)
    assert said.startswith("copied: conv1, conv2, conv3, conv4, conv5, fc6, fc7; new: fc8 (the classes differ: only ")
    assert torch.equal(
        network.get_parameter("fc8.weight"),
        Network(NetworkConfig(width=0.05), classes=10, seed=7).get_parameter("fc8.weight"),
    )


def test_layers_of_other_shapes_or_names_stay_new_and_are_named(checkpoint: Checkpoint, dataset: Dataset) -> None:
    network = Network(NetworkConfig(width=0.05, sixth_conv=True, removed="conv3"), classes=10, seed=7)
    said = init_from(checkpoint, network, dataset)
    assert said.startswith(
        "copied: conv1, conv2, conv5, fc6, fc7, fc8; new: conv4 (conv4.weight is (20, 10, 3, 3) there, "
    )
    assert said.endswith("conv6 (the checkpoint has none)")


def test_the_command_begins_with_another_runs_layers_and_says_so(train: Any, run: Path, tmp_path: Path) -> None:
    words = f"--init-from {run / 'last.pt'} --epochs 1 --set learning_rate=0 --set sixth_conv=true"
    result = train.here(tmp_path, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == (
        f"{run}/last.pt: copied: conv1, conv2, conv3, conv4, conv5, fc6, fc7, fc8; new: conv6 (the checkpoint has none)"
    )
    before, after = (Checkpoint.load(path / "last.pt").weights for path in (run, tmp_path))
    assert all(torch.equal(after[name], weights) for name, weights in before.items())
    missing = train.here(tmp_path / "other", "--init-from none.pt")
    assert (missing.exit_code, missing.stderr) == (2, "error: there is no checkpoint none.pt; correct the path\n")


def test_a_run_goes_on_only_on_its_own_classes(checkpoint: Checkpoint, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FreelightError) as raised:
        check_same_run(
            checkpoint,
            recipe=checkpoint.recipe,
            seed=0,
            dataset=with_classes(dataset, [0, 2, 1, *range(3, 10)]),
            statistics=Statistics.load(dataset.folder),
            folder=tmp_path,
        )
    ids = checkpoint.class_ids
    assert str(raised.value) == (
        f"{tmp_path} holds a run with other classes (class 1: {ids[1]} then, {ids[2]} now); "
        "use the earlier ones, or another `out`"
    )
