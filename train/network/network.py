"""The network, written once for both cases: all columns in one process, or one column in each of two processes."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ...shards import FreelightError
from ..parallel.columns import Columns, part_sizes
from .architectures import NetworkConfig
from .dropout import DropoutMasks
from .layers import Convolution, Dropout, FullyConnected, Layer, Shape, input_shapes
from .modules import GroupedLinear, LocallyConnected, module_names, plain_module
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
        self._names = module_names(self.layers)
        self._zeros: dict[str, tuple[int, ...]] = {}  # by layer: left, right, above, below; where they are uneven
        self._weighted = {layer.name: layer for layer in self.layers if isinstance(layer, Convolution | FullyConnected)}
        for name, layer, shape in zip(self._names, self.layers, input_shapes(self.layers, crop), strict=True):
            self.add_module(name, self._module(layer, shape))
        self._initialize(crop, seed)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits: in `eval` mode as at test; in training mode with masks from torch's generator."""
        return self._forward(images, None)

    def forward_masked(self, images: torch.Tensor, masks: DropoutMasks) -> torch.Tensor:
        """Return the logits of training with these masks, in either mode."""
        return self._forward(images, masks)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the last layer, (N, features): in `eval` mode AlexNet's fc7 activations, halved."""
        return self.columns.join(self._apply_layers(self.layers[:-1], images, None)).flatten(1)

    def _forward(self, images: torch.Tensor, masks: DropoutMasks | None) -> torch.Tensor:
        return self.columns.join_logits(self._apply_layers(self.layers, images, masks), self.classes)

    def _apply_layers(
        self, layers: tuple[Layer, ...], images: torch.Tensor, masks: DropoutMasks | None
    ) -> torch.Tensor:
        x = images
        for name, layer in zip(self._names, layers, strict=False):
            if isinstance(layer, Convolution | FullyConnected) and layer.input_columns == "all":
                x = self.columns.join(x)
            if name in self._zeros:
                x = F.pad(x, self._zeros[name])
            if isinstance(layer, FullyConnected):
                x = x.flatten(1)
            if isinstance(layer, Dropout) and masks is not None:
                x = masks.apply(x, layer.name, layer.probability, self.columns)
            else:
                x = self.get_submodule(name)(x)
        return x

    def _module(self, layer: Layer, shape: Shape) -> nn.Module:
        if not isinstance(layer, Convolution | FullyConnected):
            return plain_module(layer, self.local_columns, compile_=self.compile_)
        rows = part_sizes(self.whole_rows(layer.name), self.columns.processes)[self.columns.rank]
        groups = self.local_columns if layer.input_columns == "own" else 1
        if isinstance(layer, FullyConnected):
            inputs = layer.fan_in(shape, self.config.columns)
            return nn.Linear(inputs, rows) if groups == 1 else GroupedLinear(inputs, rows, groups)
        inputs = layer.input_maps(shape, self.config.columns) * groups
        if layer.local:
            return LocallyConnected(inputs, rows, layer, shape.side)
        before, after = layer.padding_for(shape.side)
        if before != after:
            self._zeros[layer.name] = (before, after) * 2
        padding = before if before == after else 0
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
        """Gather tensors, one per parameter, to those of the whole network, on the CPU (a collective).

        They are contiguous, whichever memory order the network has: files of the same weights have the same bytes.
        """
        return {
            name: self.columns.gather_rows(tensor.detach(), self.whole_rows(name)).cpu().contiguous()
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
