"""The network, written once for both cases: all columns in one process, or one column in each of two processes."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ...shards import FreelightError
from ..parallel.columns import Columns, part_sizes
from .architectures import NetworkConfig
from .dropout import DropoutMasks
from .layers import (
    Activation,
    Convolution,
    FullyConnected,
    Layer,
    NormalizeAcross,
    NormalizeWithin,
    Pooling,
    Shape,
    input_shapes,
)
from .normalization import EAGER, compiled, normalize_across, normalize_within
from .random_streams import generator_for

CROP = 224
"""Side of the crops of ImageNet's networks, pixels."""


class Network(nn.Module):
    """AlexNet or a variant: RGB crops (N, 3, crop, crop), 0-255 units less the mean -> logits (N, classes).

    columns: which of the columns this process holds. A parameter of one column is a part of the whole network's
    parameter along dimension 0; `whole` and `load_whole` convert between the two. crop: side of the images, pixels.
    seed: of the initial weights. compile_: compile the response normalisation, where there is a compiler.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        classes: int,
        crop: int = CROP,
        columns: Columns = Columns(),  # noqa: B008
        seed: int = 0,
        compile_: bool = False,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise FreelightError(f"`classes` (={classes}) must be at least 2: one class leaves nothing to learn")
        self.config = config
        self.classes = classes
        self.columns = columns
        self.local_columns = columns.per_process(config.columns)
        self.layers = config.layers()
        self.compile_ = compile_
        self._weighted = {layer.name: layer for layer in self.layers if isinstance(layer, Convolution | FullyConnected)}
        for layer, shape in zip(self.layers, input_shapes(self.layers, crop), strict=True):
            if isinstance(layer, Convolution | FullyConnected):
                self.add_module(layer.name, self._module(layer, shape))
        self._initialize(crop, seed)

    def forward(self, images: torch.Tensor, masks: DropoutMasks | None = None) -> torch.Tensor:
        """Return the logits: as in training with `masks`, else as at test."""
        return self.columns.join_logits(self._apply_layers(self.layers, images, masks), self.classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the last layer at test, (N, features): in AlexNet fc7's activations, halved."""
        return self.columns.join(self._apply_layers(self.layers[:-1], images, None)).flatten(1)

    def _apply_layers(
        self, layers: tuple[Layer, ...], images: torch.Tensor, masks: DropoutMasks | None
    ) -> torch.Tensor:
        x, stages = images, compiled(images.device.type) if self.compile_ else EAGER
        for layer in layers:
            if isinstance(layer, Convolution | FullyConnected):
                x = self._apply_weights(x, layer)
            elif isinstance(layer, Activation):
                x = torch.relu(x) if layer.function == "relu" else torch.tanh(x)
            elif isinstance(layer, Pooling):
                pool = F.max_pool2d if layer.kind == "max" else F.avg_pool2d
                x = pool(x, layer.window, layer.stride, ceil_mode=layer.ceil)
            elif isinstance(layer, NormalizeAcross):
                x = normalize_across(x, layer, self.local_columns, stages)
            elif isinstance(layer, NormalizeWithin):
                x = normalize_within(x, layer, stages)
            elif masks is None:
                x = x * (1 - layer.probability)
            else:
                x = masks.apply(x, layer.name, layer.probability, self.columns)
        return x

    def _apply_weights(self, x: torch.Tensor, layer: Convolution | FullyConnected) -> torch.Tensor:
        if layer.input_columns == "all":
            x = self.columns.join(x)
        if isinstance(layer, FullyConnected):
            x = x.flatten(1)
        else:
            before, after = layer.padding_for(x.shape[-1])
            if before != after:
                x = F.pad(x, (before, after, before, after))
        output: torch.Tensor = self.get_submodule(layer.name)(x)
        return output

    def _module(self, layer: Convolution | FullyConnected, shape: Shape) -> nn.Module:
        rows = part_sizes(self.whole_rows(layer.name), self.columns.processes)[self.columns.rank]
        groups = self.local_columns if layer.input_columns == "own" else 1
        if isinstance(layer, FullyConnected):
            inputs = layer.fan_in(shape, self.config.columns)
            return nn.Linear(inputs, rows) if groups == 1 else _GroupedLinear(inputs, rows, groups)
        inputs = layer.input_maps(shape, self.config.columns) * groups
        if layer.local:
            return _LocallyConnected(inputs, rows, layer, shape.side)
        before, after = layer.padding_for(shape.side)
        padding = before if before == after else 0  # `_apply_weights` adds uneven padding
        return nn.Conv2d(inputs, rows, layer.kernel, stride=layer.stride, padding=padding, groups=groups)

    @torch.no_grad()
    def _initialize(self, crop: int, seed: int) -> None:
        """Draw normal weights and set the biases, as each layer states (paper section 5).

        With another width, or other crops, the standard deviation is the layer's times
        `sqrt(fan-in in the full network / fan-in)`, so that sums are as large as in the full network. Each column draws
        the whole parameter and keeps its part. A layer's weights depend on the seed and the layer's name only.
        """
        if next(self.parameters()).is_meta:  # only shapes are wanted; to draw would make torch import its compiler, 1 s
            return
        fan_in = self._fan_ins(self.config.layers(), crop)
        full = self._fan_ins(self.config.layers(width=1), crop if self.config.is_for_cifar else CROP)
        for name, layer in self._weighted.items():
            weight = self.get_parameter(f"{name}.weight")
            rows = self.whole_rows(name)
            deviation = layer.std * math.sqrt(full[name] / fan_in[name])
            drawn = torch.empty((rows, *weight.shape[1:]))
            drawn.normal_(0, deviation, generator=generator_for("cpu", seed, name))
            weight.copy_(drawn[self.columns.part(rows)])
            self.get_parameter(f"{name}.bias").fill_(layer.bias)

    def _fan_ins(self, layers: tuple[Layer, ...], crop: int) -> dict[str, int]:
        return {
            layer.name: layer.fan_in(shape, self.config.columns)
            for layer, shape in zip(layers, input_shapes(layers, crop), strict=True)
            if isinstance(layer, Convolution | FullyConnected)
        }

    def whole_rows(self, name: str) -> int:
        """Return the number of rows (dimension 0) of a layer's or a parameter's tensors in the whole network."""
        layer = self._weighted[name.partition(".")[0]]
        rows = layer.maps if isinstance(layer, Convolution) else layer.neurons
        return self.classes if rows is None else rows * self.config.columns

    def whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Gather tensors, one per parameter, to those of the whole network, on the CPU (a collective)."""
        return {
            name: self.columns.gather_rows(tensor.detach(), self.whole_rows(name)).cpu()
            for name, tensor in tensors.items()
        }

    def part(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a whole parameter, or of its velocity."""
        return whole[self.columns.part(self.whole_rows(name))]

    @torch.no_grad()
    def load_whole(self, weights: dict[str, torch.Tensor]) -> None:
        """Copy this process's part of the whole network's weights."""
        for name, parameter in self.named_parameters():
            parameter.copy_(self.part(name, weights[name]))


class _GroupedLinear(nn.Module):
    """A fully connected layer in groups: each group of outputs is computed from its own group of inputs."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = zip(x.chunk(self.groups, dim=1), self.weight.chunk(self.groups), strict=True)
        return torch.cat([F.linear(part, weight) for part, weight in parts], dim=1) + self.bias


class _LocallyConnected(nn.Module):
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
        assert isinstance(self.layer.padding, int)
        windows = F.unfold(x, self.layer.kernel, padding=self.layer.padding, stride=self.layer.stride)
        places: torch.Tensor = torch.einsum("nip,mpi->nmp", windows, self.weight) + self.bias
        return places.reshape(*places.shape[:2], self.side, self.side)
