"""The networks of docs/design/paper.md sections 5 and 7: their sizes, and what their options change."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from freelight.train import RECIPES, Columns, DropoutMasks, Network, NetworkConfig, Recipe
from freelight.train.describe import describe, layer_sizes

# Parameters with 1,000 classes: published, or added up from docs/design/paper.md's kernels by hand.
COUNTS: dict[str, tuple[dict[str, Any], int]] = {
    "paper": ({}, 60_965_224),
    "half net": ({"architecture": "half"}, 59_798_312),
    "no links": ({"architecture": "no-links"}, 60_714_408),
    "2/2": ({"pooling": "2/2"}, 60_965_224),
    "sixth conv": ({"sixth_conv": True}, 60_965_224 + 256 * (256 * 9 + 1)),
    "bottleneck": ({"bottleneck": True}, 60_965_224 - 1000 * 4097 + 2048 * 4097 + 1000 * 2049),
    "without conv2": ({"removed": "conv2"}, 60_965_224 - 256 * (48 * 25 + 1) - 384 * (256 - 96) * 9),
    "without conv3": ({"removed": "conv3"}, 60_965_224 - 384 * (256 * 9 + 1) + 384 * (256 - 192) * 9),
    "without conv4": ({"removed": "conv4"}, 60_965_224 - 384 * (192 * 9 + 1)),
    "without conv5": ({"removed": "conv5"}, 60_965_224 - 256 * (192 * 9 + 1) + 4096 * (384 - 256) * 36),
    "without conv3 and conv4": (
        {"removed": "conv3,conv4"},
        60_965_224 - 384 * (256 * 9 + 1) - 384 * (192 * 9 + 1) + 256 * (256 - 192) * 9,
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_variant_has_its_number_of_parameters(name: str) -> None:
    settings, count = COUNTS[name]
    with torch.device("meta"):
        network = Network(NetworkConfig(**settings), classes=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


# Maps, kernel and inputs of each layer; local layers have weights and a bias at each of the 6 x 6 places.
CIFAR = {
    "cifar-19pct": 32 * (75 + 1) + 32 * (800 + 1) + 64 * (800 + 1) + 10 * (64 * 9 + 1),
    "cifar-18pct": 32 * (75 + 1) + 32 * (800 + 1) + 64 * (800 + 1) + 10 * (64 * 9 + 1),
    "cifar-13pct": 64 * 76 + 64 * 1601 + 36 * 32 * (64 * 9 + 1) + 36 * 32 * (32 * 9 + 1) + 10 * (32 * 36 + 1),
    "cifar-11pct": 64 * 76 + 64 * 1601 + 36 * 64 * (64 * 9 + 1) + 36 * 32 * (64 * 9 + 1) + 10 * (32 * 36 + 1),
}


@pytest.mark.parametrize("name", CIFAR)
def test_a_cifar_net_has_its_number_of_parameters_and_learns(name: str) -> None:
    network = Network(NetworkConfig(architecture=name), classes=10, crop=24)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in network.parameters()) == CIFAR[name]
    logits = network.forward_masked(torch.zeros(2, 3, 24, 24), DropoutMasks(0, 0))
    F.cross_entropy(logits, torch.tensor([1, 2])).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_cifar_nets_sides_round_up_32_16_8_4() -> None:
    """With floor they would be 15, 7 and 3: the 2012 code's last pooling window is partly outside."""
    recipe = Recipe(network=NetworkConfig(architecture="cifar-19pct"), crop_size=32)
    assert [size.shape for size in layer_sizes(recipe, 10)] == [(32, 32, 32), (32, 16, 16), (64, 8, 8), (10,)]
    assert layer_sizes(recipe, 10)[3].parameters == 10 * (64 * 16 + 1)


@pytest.mark.parametrize("settings", [{"architecture": "cifar-18pct"}, {"architecture": "cifar-11pct"}, {}])
def test_normalisation_can_be_left_out_and_is_all_that_goes(settings: dict[str, Any]) -> None:
    crop = 24 if settings else 224
    images = torch.randn(1, 3, crop, crop, generator=torch.Generator().manual_seed(0)) * 60
    whole, without = (
        Network(NetworkConfig(width=0.25, normalization=kind, **settings), classes=10, crop=crop)
        for kind in ("paper", "none")
    )
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), without.parameters(), strict=True))
    assert not torch.equal(whole(images), without(images))


def test_a_locally_connected_layer_is_a_convolution_with_other_weights_at_each_place() -> None:
    network = Network(NetworkConfig(architecture="cifar-13pct", width=0.1), classes=2, crop=24).double()
    local = network.get_submodule("local3")
    x = torch.randn(2, 6, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = F.pad(x, (1, 1, 1, 1))
    with torch.no_grad():
        local.bias.normal_(generator=torch.Generator().manual_seed(1))
        result = local(x)
    for row in range(6):
        for column in range(6):
            place = row * 6 + column
            window = padded[:, :, row : row + 3, column : column + 3].reshape(2, -1)
            expected = window @ local.weight[:, place].T + local.bias[:, place]
            torch.testing.assert_close(result[:, :, row, column], expected)


@pytest.mark.parametrize(
    ("settings", "sides"),
    [({}, [55, 27, 13, 13, 13]), ({"pooling": "2/2"}, [55, 27, 13, 13, 13]), ({"removed": "conv4"}, [55, 27, 13, 13])],
)
def test_maps_have_the_papers_sides_also_with_pooling_2_2(settings: dict[str, Any], sides: list[int]) -> None:
    sizes = layer_sizes(Recipe(network=NetworkConfig(**settings)), 1000)
    assert [size.shape[1] for size in sizes if size.name.startswith("conv")] == sides


def test_tanh_takes_the_place_of_every_relu() -> None:
    network = Network(NetworkConfig(width=0.05, activation="tanh", initial_bias=0), classes=3)
    seen: list[torch.Tensor] = []
    network.get_submodule("fc8").register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 60
    network.forward_masked(images, DropoutMasks(0, 0))
    assert seen[0].min() < 0
    assert seen[0].abs().max() <= 1


def test_without_links_a_columns_logits_parts_depend_on_it_alone_until_the_last_layer() -> None:
    network = Network(NetworkConfig(architecture="no-links", width=0.05), classes=3).eval()
    features: list[torch.Tensor] = []
    network.get_submodule("fc8").register_forward_hook(lambda _, inputs, __: features.append(inputs[0].detach()))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 60
    network(images)
    with torch.no_grad():
        conv1 = network.get_parameter("conv1.weight")
        conv1[: len(conv1) // 2] *= 2  # of the first column
    network(images)
    half = features[0].shape[1] // 2
    assert not torch.equal(features[0][:, :half], features[1][:, :half])
    assert torch.equal(features[0][:, half:], features[1][:, half:])


def test_layers_weights_do_not_depend_on_what_other_layers_there_are() -> None:
    """So ablations start from the same weights in the layers that they share."""
    whole, without = (Network(NetworkConfig(width=0.05, removed=removed), classes=5) for removed in ("", "conv4"))
    for name in ("conv1", "conv2", "conv3", "fc6", "fc8"):
        assert torch.equal(whole.get_parameter(f"{name}.weight"), without.get_parameter(f"{name}.weight"))


def test_source_draws_wider_weights_in_conv3_to_conv5() -> None:
    network = Network(RECIPES["source"].network, classes=10)
    for name, std in {"conv1": 0.01, "conv2": 0.01, "conv3": 0.03, "conv4": 0.03, "conv5": 0.03, "fc7": 0.01}.items():
        weight = network.get_parameter(f"{name}.weight").detach()
        assert abs(weight.std() / std - 1) < 5 / math.sqrt(2 * weight.numel()), name


def test_figure_2_has_the_papers_neurons_multiply_adds_and_exchanged_bytes() -> None:
    """Neurons per column: half of the 290,400, 186,624, 64,896, 64,896, 43,264, 4096, 4096 and 1000 of the whole."""
    sizes = {size.name: size for size in layer_sizes(RECIPES["paper"], 1000)}
    neurons = [145_200, 93_312, 32_448, 32_448, 21_632, 2048, 2048, 500]
    assert [size.neurons for size in sizes.values()] == neurons
    assert sum(2 * size.multiply_adds for size in sizes.values()) == pytest.approx(724e6, rel=1e-3)
    exchanged = {name: size.bytes_exchanged for name, size in sizes.items() if size.bytes_exchanged}
    both = {"conv3": 128 * 13 * 13, "fc6": 128 * 6 * 6, "fc7": 2048, "fc8": 2048}
    assert exchanged == {name: 4 * floats for name, floats in both.items()}
    assert sum(size.parameters_of_all for size in sizes.values()) == 60_965_224


def test_the_table_has_a_row_a_layer_and_their_sum() -> None:
    lines = describe(RECIPES["paper"], 7).splitlines()
    assert lines[0] == "alexnet, 224 x 224 pixels, 7 classes: 56,896,903 parameters in 2 columns"
    assert [line.split()[0] for line in lines[3:-1]] == [
        "conv1",
        "conv2",
        "conv3",
        "conv4",
        "conv5",
        "fc6",
        "fc7",
        "fc8",
    ]
    columns = [Network(NetworkConfig(), classes=7, columns=Columns(2, rank)) for rank in range(2)]
    assert f"{sum(p.numel() for p in columns[0].parameters()):,}" in lines[-1]
