"""The network without the trainer: a torch module like others, with dropout, hooks, tracing and other dtypes."""

from pathlib import Path

import pytest
import torch
import torch.fx

from freelight.train import RECIPES, Checkpoint, Network, NetworkConfig, load_network


@pytest.fixture
def network() -> Network:
    return Network(NetworkConfig(width=0.05), classes=7)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 60


def test_in_training_mode_it_drops_by_torchs_generator(network: Network, images: torch.Tensor) -> None:
    """A loop that calls it as any other module trains with dropout."""
    torch.manual_seed(1)
    first, second = network(images), network(images)
    torch.manual_seed(1)
    assert torch.equal(network(images), first)
    assert not torch.equal(first, second)
    seen: list[torch.Tensor] = []
    network.get_submodule("fc7").register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    network.get_submodule("relu6").register_forward_hook(lambda _, __, output: seen.append(output))
    network(images)
    before, after = seen
    assert torch.equal(after[after != 0], before[after != 0]), "what is kept keeps its size"
    assert 0.3 < (after[before != 0] == 0).double().mean() < 0.7


def test_in_eval_mode_it_is_the_same_function_each_time(network: Network, images: torch.Tensor) -> None:
    network.eval()
    assert torch.equal(network(images), network(images))
    factor = network.get_submodule("drop6")(torch.ones(1, 4))
    assert factor.tolist() == [[0.5] * 4]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_runs_in_16_bits(dtype: torch.dtype, network: Network, images: torch.Tensor) -> None:
    exact = network.eval()(images / 10)
    logits = network.to(dtype)(images.to(dtype) / 10)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), exact, rtol=0.1, atol=0.1)
    logits.float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.dtype == dtype for parameter in network.parameters())


NAMES = (
    "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
    "fc6 relu6 drop6 fc7 relu7 drop7 fc8"
)


def test_each_layer_is_a_module_that_hooks_reach(network: Network, images: torch.Tensor) -> None:
    assert [name for name, _ in network.named_children()] == NAMES.split()
    seen = []
    for name, module in network.named_children():
        module.register_forward_hook(lambda _, __, ___, name=name: seen.append(name))
    network(images)
    assert seen == NAMES.split()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}, "checkpoints stay as they are"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_modules_have_names_of_their_own_in_every_recipe(name: str) -> None:
    recipe = RECIPES[name]
    with torch.device("meta"):
        network = Network(recipe.network, classes=10, crop=recipe.crop_size)
    assert len(list(network.named_children())) == len(network.layers)


@pytest.mark.parametrize("removed", ["", "conv2", "conv3,conv4,conv5"])
def test_fx_traces_it_to_the_same_function(removed: str, images: torch.Tensor) -> None:
    """torchvision's feature extraction is built on it."""
    network = Network(NetworkConfig(width=0.05, removed=removed), classes=7).eval()
    traced = torch.fx.symbolic_trace(network)
    called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    assert {"conv1", "relu1", "pool1", "fc6", "fc8"} <= set(called)
    assert torch.equal(traced(images), network(images))


def test_a_checkpoints_network_is_loaded_for_use(run: Path, images: torch.Tensor) -> None:
    network = load_network(run / "last.pt")
    assert not network.training
    assert torch.equal(network(images), Checkpoint.load(run / "last.pt").network()(images))
    assert torch.equal(load_network(str(run / "last.pt"))(images), network(images))
