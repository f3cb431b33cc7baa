"""A network's layers as torch modules, so that hooks, torch.fx and feature extraction reach each of them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    Layer,
    NormalizeAcross,
    NormalizeWithin,
    Pooling,
    Shape,
)
from .normalization import Normalization

Plain = Activation | Pooling | Dropout | NormalizeAcross | NormalizeWithin


def module_names(layers: Sequence[Layer]) -> list[str]:
    """Return the name of each layer's module: `conv1`, `relu1`, `norm1`, `pool1`; a second `pool1` is `pool1_2`.

    Layers without weights have the number of the layer with weights before them.
    """
    names: list[str] = []
    number = ""
    for layer in layers:
        if isinstance(layer, Convolution | FullyConnected):
            number = layer.name.lstrip("abcdefghijklmnopqrstuvwxyz")
            name = layer.name
        else:
            name = f"{_kind(layer)}{number}"
        count = sum(other.partition("_")[0] == name for other in names)
        names.append(f"{name}_{count + 1}" if count else name)
    return names


def _kind(layer: Plain) -> str:
    if isinstance(layer, Activation):
        return layer.function
    return "pool" if isinstance(layer, Pooling) else "drop" if isinstance(layer, Dropout) else "norm"


def plain_module(layer: Plain, columns: int, *, compile_: bool) -> nn.Module:
    """Return the module of a layer without weights. columns: that the activations hold."""
    if isinstance(layer, Activation):
        return nn.ReLU() if layer.function == "relu" else nn.Tanh()
    if isinstance(layer, Pooling):
        kind: Any = nn.MaxPool2d if layer.kind == "max" else nn.AvgPool2d
        pooling: nn.Module = kind(layer.window, layer.stride, ceil_mode=layer.ceil)
        return pooling
    if isinstance(layer, Dropout):
        return PaperDropout(layer.probability)
    return Normalization(layer, columns if isinstance(layer, NormalizeAcross) else 1, compile_=compile_)


class PaperDropout(nn.Module):
    """Dropout as in the paper (section 4.2): activations are dropped in training and scaled by 1 - p at test.

    In training the mask comes from torch's generator. The trainer's masks are `DropoutMasks`, which replace this.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activations, of the same shape."""
        kept = 1 - self.probability
        return x * torch.empty_like(x).bernoulli_(kept) if self.training else x * kept

    def extra_repr(self) -> str:
        """Return the probability, for printing."""
        return f"probability={self.probability}"


class GroupedLinear(nn.Module):
    """A fully connected layer in groups: each group of outputs is computed from its own group of inputs."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) from (N, groups * inputs)."""
        parts = zip(x.chunk(self.groups, dim=1), self.weight.chunk(self.groups), strict=True)
        return torch.cat([F.linear(part, weight) for part, weight in parts], dim=1) + self.bias


class LocallyConnected(nn.Module):
    """A convolution with different weights at every position.

    weight: (maps, positions, input maps * kernel**2). bias: (maps, positions).
    """

    def __init__(self, inputs: int, maps: int, layer: Convolution, side: int) -> None:
        super().__init__()
        self.layer = layer
        self.side = layer.output(Shape(inputs, side)).side
        self.weight = nn.Parameter(torch.empty(maps, self.side**2, inputs * layer.kernel**2))
        self.bias = nn.Parameter(torch.empty(maps, self.side**2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, maps, side, side) from (N, C, H, W).

        One product of matrices per position. The images are the last axis, so that windows are copied in long rows and
        the products read them as they are.
        """
        kernel, stride, padding = self.layer.kernel, self.layer.stride, self.layer.padding
        assert isinstance(padding, int), self.layer
        padded = F.pad(x, (padding,) * 4).permute(2, 3, 1, 0).contiguous()
        span = stride * (self.side - 1) + 1
        shifted = [
            padded[row : row + span : stride, column : column + span : stride]
            for row in range(kernel)
            for column in range(kernel)
        ]
        windows = torch.stack(shifted, dim=3).reshape(self.side**2, self.weight.shape[2], -1)
        places = torch.bmm(self.weight.transpose(0, 1), windows) + self.bias.T.unsqueeze(2)
        return places.permute(2, 1, 0).reshape(-1, len(self.weight), self.side, self.side)
