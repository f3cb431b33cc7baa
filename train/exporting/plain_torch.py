"""Write a network's layers as lines of plain PyTorch, which need nothing of this project."""

from collections.abc import Iterator

from torch import nn

from ..network.layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    Layer,
    NormalizeAcross,
    Pooling,
    Shape,
    input_shapes,
)
from ..network.modules import GroupedLinear, module_names
from ..network.network import Network

HEADING = '"""A network in plain PyTorch, written by `freelight export`'

START = f'''{HEADING}; its weights are in the .pt file beside this one."""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

'''

CLASSES = {
    "ColumnNorm": """class ColumnNorm(nn.LocalResponseNorm):  # over neighbouring maps of one of the two columns
    def forward(self, x):
        return super().forward(x.unflatten(1, (2, -1)).flatten(0, 1)).reshape(x.shape)
""",
    "NormWithin": """class NormWithin(nn.Module):  # over a window of each map
    def __init__(self, window, alpha):
        super().__init__()
        self.alpha = alpha
        self.mean = nn.AvgPool2d(window, stride=1, padding=window // 2)

    def forward(self, x):
        return x / (1 + self.alpha * self.mean(x * x)) ** 0.75
""",
    "PaperDropout": """class PaperDropout(nn.Dropout):  # scales down at test, not up in training
    def forward(self, x):
        return super().forward(x) * (1 - self.p)
""",
    "Local": """class Local(nn.Module):  # a convolution with different weights at every position
    def __init__(self, inputs, maps, side, kernel, padding, stride):
        super().__init__()
        self.windows = nn.Unfold(kernel, padding=padding, stride=stride)
        self.maps = nn.Unflatten(2, (side, side))
        self.weight = nn.Parameter(torch.empty(maps, side**2, inputs * kernel**2))
        self.bias = nn.Parameter(torch.empty(maps, side**2))

    def forward(self, x):
        return self.maps(torch.einsum("nip,mpi->nmp", self.windows(x), self.weight) + self.bias)
""",
    "ColumnLinear": """class ColumnLinear(nn.Linear):  # each of the two columns has its own inputs and outputs
    def forward(self, x):
        parts = zip(x.chunk(2, dim=1), self.weight.chunk(2))
        return torch.cat([part @ weight.T for part, weight in parts], dim=1) + self.bias
""",
}
"""The modules that torch lacks. They are written where a network needs them."""

END = """network = nn.Sequential(layers)
saved = torch.load(Path(__file__).with_suffix(".pt"), weights_only=True)
network.load_state_dict(saved["state_dict"])
network.eval()
"""


def plain_torch(network: Network, crop: int) -> str:
    """Return the text of a module whose `network` equals this one, which holds all columns. crop: of images, pixels.

    The module loads the weights from the file of its own name with the ending `.pt`.
    """
    layers = network.layers
    rows: list[tuple[str, str]] = []
    for name, layer, shape in zip(module_names(layers), layers, input_shapes(layers, crop), strict=True):
        if isinstance(layer, FullyConnected) and "flatten" not in dict(rows):
            rows.append(("flatten", "nn.Flatten()"))
        rows.extend(_rows(network, name, layer, shape))
    classes = [text for name, text in CLASSES.items() if any(made.startswith(f"{name}(") for _, made in rows)]
    sizes = f"(N, 3, {crop}, {crop}), RGB, 0-255, less the mean -> logits (N, {network.classes})"
    sequence = ["layers = OrderedDict(", f"    # {sizes}", *(f"    {name}={made}," for name, made in rows), ")"]
    return "\n".join([START, *(f"{text}\n" for text in classes), *sequence, END])


def _rows(network: Network, name: str, layer: Layer, shape: Shape) -> Iterator[tuple[str, str]]:
    """Yield the modules of a layer for inputs of `shape`, of one column: their names, and the code that makes them."""
    columns = network.config.columns
    module = network.get_submodule(name)
    if isinstance(layer, Convolution):
        yield from _convolution(module, name, layer, shape)
    elif isinstance(layer, FullyConnected):
        kind = "ColumnLinear" if isinstance(module, GroupedLinear) else "nn.Linear"
        outputs, inputs = network.get_parameter(f"{name}.weight").shape
        yield name, f"{kind}({inputs}, {outputs})"
    elif isinstance(layer, Activation):
        yield name, "nn.ReLU()" if layer.function == "relu" else "nn.Tanh()"
    elif isinstance(layer, Pooling):
        kind = "nn.MaxPool2d" if layer.kind == "max" else "nn.AvgPool2d"
        yield name, f"{kind}({layer.window}, {layer.stride}{', ceil_mode=True' if layer.ceil else ''})"
    elif isinstance(layer, Dropout):
        yield name, f"PaperDropout({layer.probability})"
    elif isinstance(layer, NormalizeAcross):
        kind = "ColumnNorm" if columns == 2 else "nn.LocalResponseNorm"
        # torch divides alpha by the number of maps
        yield name, f"{kind}({layer.maps}, alpha={layer.alpha * layer.maps:.9g}, beta=0.75, k={layer.k})"
    else:
        yield name, f"NormWithin({layer.window}, alpha={layer.alpha * layer.window**2:.9g})"


def _convolution(module: nn.Module, name: str, layer: Convolution, shape: Shape) -> Iterator[tuple[str, str]]:
    if not isinstance(module, nn.Conv2d):
        side = layer.output(shape).side
        yield name, f"Local({shape.maps}, {layer.maps}, {side}, {layer.kernel}, {layer.padding}, {layer.stride})"
        return
    before, after = layer.padding_for(shape.side)
    if before != after:
        yield f"pad{name.removeprefix('conv')}", f"nn.ZeroPad2d({(before, after) * 2})"
    options = {"stride": (layer.stride, 1), "padding": (before if before == after else 0, 0)}
    options["groups"] = (module.groups, 1)
    said = [f"{option}={value}" for option, (value, default) in options.items() if value != default]
    yield name, f"nn.Conv2d({', '.join([*map(str, (module.in_channels, module.out_channels, layer.kernel)), *said])})"
