"""A run's number formats and memory order hold from the loader to the last convolution's gradient."""

import torch
from torch import nn

from freelight.train import RECIPES, DropoutMasks, Network, NetworkConfig, Precision

BOTH = NetworkConfig(width=0.05, normalization="source")
"""A network with both kinds of normalisation."""


def is_channels_last(x: torch.Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def test_every_activation_and_gradient_stays_channels_last() -> None:
    """Otherwise each convolution converts its input, and pays for what the order should save."""
    precision = Precision("float32", True, "cpu")
    network = precision.place(Network(BOTH, classes=3))
    wrong = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if output.ndim == 4:
            kind = type(module).__name__
            if not is_channels_last(output):
                wrong.append(f"output of {kind}")
            output.register_hook(lambda grad: None if is_channels_last(grad) else wrong.append(f"gradient of {kind}"))

    for module in network.children():
        module.register_forward_hook(note)
    images = torch.randint(-128, 128, (2, 224, 224, 3)).float()
    assert precision.inputs(images).data_ptr() == images.data_ptr(), "no copy of what the loader returned"
    network.forward_masked(precision.inputs(images), DropoutMasks(0, 0)).sum().backward()
    assert wrong == ["gradient of MaxPool2d"], "of the last one, whose outputs fc6 takes in the order of maps"
    assert all(is_channels_last(weight.grad) for name, weight in network.named_parameters() if weight.ndim == 4)


def test_channels_last_gives_the_same_logits_and_gradients() -> None:
    images = torch.randint(-128, 128, (2, 224, 224, 3), generator=torch.Generator().manual_seed(0)).float()
    found = []
    for channels_last in (False, True):
        precision = Precision("float64", channels_last, "cpu")
        network = precision.place(Network(BOTH, classes=3))
        taken = images if precision.layout == "NHWC" else images.permute(0, 3, 1, 2).contiguous()
        logits = network.forward_masked(precision.inputs(taken), DropoutMasks(0, 0))
        logits.square().sum().backward()
        found.append([logits.detach(), *(weight.grad for weight in network.parameters())])
        assert all(whole.is_contiguous() for whole in network.whole(dict(network.named_parameters())).values())
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_tf32_is_a_precision_which_the_cpu_does_not_have() -> None:
    recipe = RECIPES["paper"].override(["precision=tf32"])
    assert recipe.precision == "tf32"
    assert Precision(recipe.precision, False, "cpu").remark == (
        "precision tf32: cpu has no TensorFloat-32 and computes in float32"
    )
    assert Precision("float32", False, "cpu").remark is None
    matmul = torch.backends.cuda.matmul
    for name, allowed in (("float32", False), ("tf32", True), ("bfloat16", False)):
        with Precision(name, False, "cpu").arithmetic():
            assert (torch.backends.cudnn.allow_tf32, matmul.allow_tf32) == (allowed, allowed), name
