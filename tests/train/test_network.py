"""The network is the paper's: its sizes, its formula, its initialisation, and columns that are slices of the whole."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from freelight.shards import FreelightError
from freelight.train import Columns, DropoutMasks, Network, NetworkConfig
from freelight.train.network.layers import NormalizeAcross
from freelight.train.network.normalization import Normalization

FULL = NetworkConfig()
BIASED = ("conv2", "conv4", "conv5", "fc6", "fc7")

# docs/design/paper.md section 3: outputs, inputs of each output.
LAYERS = {
    "conv1": (96, 3 * 11 * 11),
    "conv2": (256, 48 * 5 * 5),
    "conv3": (384, 256 * 3 * 3),
    "conv4": (384, 192 * 3 * 3),
    "conv5": (256, 192 * 3 * 3),
    "fc6": (4096, 256 * 6 * 6),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}


@pytest.fixture(scope="module")
def full() -> Network:
    """The network at width 1, drawn."""
    return Network(FULL, classes=1000, seed=5)


def test_it_has_exactly_60965224_parameters_in_layers_of_the_papers_sizes() -> None:
    with torch.device("meta"):
        network = Network(FULL, classes=1000)
    counts = {
        name: layer.weight.numel() + layer.bias.numel()
        for name, layer in network.named_children()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    }
    assert counts == {name: outputs * inputs + outputs for name, (outputs, inputs) in LAYERS.items()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 60_965_224


def test_a_network_of_shapes_alone_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint that is read is compared with one; drawing makes torch import its compiler, 1 s."""
    monkeypatch.setattr("freelight.train.network.network.generator_for", None)
    with torch.device("meta"):
        Network(FULL, classes=1000)


def test_its_maps_are_55_27_13_and_6_pixels_wide() -> None:
    seen = {}
    with torch.device("meta"):
        network = Network(FULL, classes=1000)
        for name, layer in network.named_children():
            layer.register_forward_hook(
                lambda _, inputs, output, name=name: seen.update({name: (tuple(inputs[0].shape), tuple(output.shape))})
            )
        network(torch.empty(2, 3, 224, 224))
    assert {name: shape for name, (_, shape) in seen.items() if name.startswith("conv")} == {
        "conv1": (2, 96, 55, 55),
        "conv2": (2, 256, 27, 27),
        "conv3": (2, 384, 13, 13),
        "conv4": (2, 384, 13, 13),
        "conv5": (2, 256, 13, 13),
    }
    assert seen["fc6"] == ((2, 256 * 6 * 6), (2, 4096))
    assert seen["fc8"] == ((2, 4096), (2, 1000))


@pytest.mark.parametrize("classes", [7, 10])
def test_a_columns_parameters_are_slices_of_the_whole_networks_along_dimension_0(classes: int) -> None:
    """An odd class goes to the first column. If this fails, one column cannot load what two wrote."""
    config = NetworkConfig(width=0.05)
    whole = dict(Network(config, classes=classes, seed=3).named_parameters())
    columns = [Network(config, classes=classes, columns=Columns(processes=2, rank=rank), seed=3) for rank in range(2)]
    for name, parameter in whole.items():
        parts = [column.get_parameter(name) for column in columns]
        assert len(parts[0]) == math.ceil(len(parameter) / 2), name
        assert torch.equal(torch.cat(parts), parameter), name
        for column, part in zip(columns, parts, strict=True):
            assert torch.equal(column.part(name, parameter), part), name


def test_loading_the_whole_network_gives_each_column_its_part() -> None:
    config = NetworkConfig(width=0.05)
    other = Network(config, classes=7, seed=1)
    weights = other.whole(dict(other.named_parameters()))
    for columns in (Columns(), Columns(processes=2, rank=0), Columns(processes=2, rank=1)):
        network = Network(config, classes=7, columns=columns, seed=2)
        network.load_whole(weights)
        for name, parameter in network.named_parameters():
            assert torch.equal(parameter, Network(config, classes=7, columns=columns, seed=1).get_parameter(name)), name


def transcription(
    weights: dict[str, torch.Tensor], x: torch.Tensor, masks: dict[str, torch.Tensor] | None
) -> torch.Tensor:
    """The network of docs/design/paper.md section 3, implemented again with torch's own functions."""

    def convolve(x: torch.Tensor, name: str, **how: int) -> torch.Tensor:
        return F.relu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **how))

    def normalize(x: torch.Tensor) -> torch.Tensor:
        # torch divides alpha by the five maps it sums over; the paper does not.
        halves = [F.local_response_norm(half, size=5, alpha=5e-4, beta=0.75, k=2) for half in x.chunk(2, dim=1)]
        return torch.cat(halves, dim=1)

    def connect(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = torch.cat([x, x.new_zeros(len(x), 3, 224, 3)], dim=3)
    x = torch.cat([x, x.new_zeros(len(x), 3, 3, 227)], dim=2)
    x = F.max_pool2d(normalize(convolve(x, "conv1", stride=4)), kernel_size=3, stride=2)
    x = F.max_pool2d(normalize(convolve(x, "conv2", padding=2, groups=2)), kernel_size=3, stride=2)
    x = convolve(x, "conv3", padding=1)
    x = convolve(x, "conv4", padding=1, groups=2)
    x = F.max_pool2d(convolve(x, "conv5", padding=1, groups=2), kernel_size=3, stride=2)
    x = x.reshape(len(x), -1)
    for name in ("fc6", "fc7"):
        x = F.relu(connect(x, name)) * (0.5 if masks is None else masks[name])
    return connect(x, "fc8")


@pytest.mark.parametrize("training", [False, True])
def test_it_equals_a_plain_transcription_of_the_paper(training: bool) -> None:
    """In training the activations are masked but not scaled; at test they are halved."""
    generator = torch.Generator().manual_seed(0)
    network = Network(NetworkConfig(width=0.125), classes=11, seed=1).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    images = torch.randint(-128, 128, (3, 3, 224, 224), generator=generator).double()
    drawn = DropoutMasks(seed=9, step=4)
    masks = {name: drawn.apply(torch.ones(3, 512), name, 0.5, Columns()).double() for name in ("fc6", "fc7")}
    with torch.no_grad():
        logits = network.forward_masked(images, drawn) if training else network.eval()(images)
        expected = transcription(dict(network.named_parameters()), images, masks if training else None)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


def test_normalisation_is_part_of_the_formula(full: Network) -> None:
    """The transcription test means little if normalisation hardly changes the activations."""
    images = torch.randint(-128, 128, (1, 3, 224, 224), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        activations = F.relu(full.conv1(F.pad(images, (0, 3, 0, 3))))
        normalized = Normalization(NormalizeAcross(maps=5, k=2.0, alpha=1e-4), columns=2)(activations)
        ratio = normalized / activations.clamp_min(1e-9)
    assert ratio[activations > 0].min() < 0.9 * 2**-0.75


@pytest.mark.parametrize("name", LAYERS)
def test_initial_weights_are_normal_with_deviation_001_and_biases_0_or_1(full: Network, name: str) -> None:
    weights = full.get_parameter(f"{name}.weight").detach().flatten()
    n = len(weights)
    assert abs(weights.mean()) < 5 * 0.01 / math.sqrt(n)
    assert abs(weights.std() / 0.01 - 1) < 5 / math.sqrt(2 * n)
    beyond = (weights.abs() > 0.02).double().mean()
    assert abs(beyond - 0.0455) < 5 * math.sqrt(0.0455 / n), "not normal"
    biases = full.get_parameter(f"{name}.bias")
    assert torch.equal(biases, torch.full_like(biases, float(name in BIASED)))


@pytest.mark.parametrize("width", [0.5, 0.25, 0.05])
def test_a_narrow_networks_sums_keep_their_size(width: float) -> None:
    """The stated rule: the deviation is 0.01 times the square root of (fan-in at width 1 / fan-in)."""
    network = Network(NetworkConfig(width=width), classes=1000)
    for name, (_, inputs) in LAYERS.items():
        weights = network.get_parameter(f"{name}.weight").detach()
        size = weights.std() * math.sqrt(weights[0].numel())
        assert abs(size / (0.01 * math.sqrt(inputs)) - 1) < 5 / math.sqrt(2 * weights.numel()), name
    assert len(network.get_parameter("conv4.bias")) == 2 * round(192 * width)
    assert len(network.get_parameter("fc8.bias")) == 1000, "the last layer keeps its size"


def test_weights_are_a_pure_function_of_the_seed_and_each_layer_has_its_own() -> None:
    config = NetworkConfig(width=0.05)
    one, again, other = (Network(config, classes=10, seed=seed) for seed in (1, 1, 2))
    for name in LAYERS:
        weights = one.get_parameter(f"{name}.weight")
        assert torch.equal(weights, again.get_parameter(f"{name}.weight"))
        assert not torch.equal(weights, other.get_parameter(f"{name}.weight"))
    fc6, fc7 = (one.get_parameter(f"{name}.weight").flatten()[:100] for name in ("fc6", "fc7"))
    assert not torch.allclose(fc6 / fc6.std(), fc7 / fc7.std(), rtol=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0.0}, r"`width` \(=0.0\) must be positive"),
        ({"width": math.nan}, r"`width` \(=nan\) must be positive"),
        ({"dropout": 1.0}, r"`dropout` \(=1.0\) must be at least 0 and less than 1"),
        ({"architecture": "vgg"}, r"`architecture` \(='vgg'\) must be one of alexnet, half, "),
        ({"pooling": "4/2"}, r"`pooling` \(='4/2'\) must be one of 3/2, 2/2"),
        ({"removed": "conv1"}, r"`removed` \(='conv1'\) must name layers of conv2, conv3, conv4, conv5"),
        (
            {"architecture": "cifar-19pct", "pooling": "2/2"},
            r"`pooling` \(=2/2\) cannot be set for the archi",
        ),
        ({"architecture": "cifar-11pct", "normalization": "source"}, "cannot be set for the architecture cifar-11pct"),
    ],
)
def test_a_network_that_cannot_be_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        NetworkConfig(**settings)


def test_fewer_than_two_classes_or_too_small_a_crop_are_an_error() -> None:
    with pytest.raises(FreelightError, match=r"`classes` \(=1\) must be at least 2"):
        Network(NetworkConfig(), classes=1)
    with pytest.raises(FreelightError, match=r"`crop_size` \(=24\) is too small for the network"):
        Network(NetworkConfig(), classes=10, crop=24)
