"""Write a network's layers as an ONNX graph.

torch's exporter is not used: that of torch 2.13 ignores the `divisor_override` of average pooling, with which
normalisation within maps is computed, and gives another function without a warning.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ... import __version__
from ..network.layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    Layer,
    NormalizeAcross,
    NormalizeWithin,
    Pooling,
    Shape,
    input_shapes,
)
from ..network.modules import GroupedLinear, module_names
from ..network.network import Network

OPSET, IR_VERSION = 17, 8
"""Of 2022, so that older runtimes read the file."""

Array = npt.NDArray[Any]


def onnx_model(network: Network, crop: int, mean: Array, metadata: dict[str, str]) -> onnx.ModelProto:
    """Return a graph `images` -> `logits` of a whole network, float32, for any number of images.

    images: (N, 3, crop, crop), RGB, 0-255. mean: (3, crop, crop), which the first node subtracts.
    """
    graph = _Graph()
    x = graph.add("subtract_mean", "Sub", "images", graph.constant("mean", mean))
    layers, flat = network.layers, False
    for name, layer, shape in zip(module_names(layers), layers, input_shapes(layers, crop), strict=True):
        if isinstance(layer, FullyConnected) and not flat:
            x, flat = graph.add("flatten", "Flatten", x), True
        x = _add_layer(graph, x, network, name, layer, shape)
    graph.nodes[-1].output[0] = "logits"
    inputs = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, crop, crop])
    outputs = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", network.classes])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "network", [inputs], [outputs], graph.constants),
        producer_name="freelight",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, metadata)
    return model


class _Graph:
    """The nodes and constants so far. A node's output has its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, name: str, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: Array | float) -> str:
        """Add a constant, a float as float32, and return its name."""
        array = np.float32(value) if isinstance(value, float) else np.ascontiguousarray(value)
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def reshape(self, name: str, x: str, *shape: int) -> str:
        """Add a reshape."""
        return self.add(name, "Reshape", x, self.constant(f"{name}.shape", np.array(shape, np.int64)))


def _add_layer(graph: _Graph, x: str, network: Network, name: str, layer: Layer, shape: Shape) -> str:
    """Add the nodes of a layer for the input `x`, of `shape` in each column, and return its output."""
    columns = network.config.columns
    match layer:
        case Convolution():
            return _add_convolution(graph, x, network, name, layer, shape)
        case FullyConnected():
            return _add_connected(graph, x, network, name)
        case Activation():
            return graph.add(name, "Relu" if layer.function == "relu" else "Tanh", x)
        case Pooling():
            kind = "MaxPool" if layer.kind == "max" else "AveragePool"
            window, stride = [layer.window] * 2, [layer.stride] * 2
            return graph.add(name, kind, x, kernel_shape=window, strides=stride, ceil_mode=int(layer.ceil))
        case Dropout():
            return graph.add(name, "Mul", x, graph.constant(f"{name}.factor", 1 - layer.probability))
        case NormalizeAcross():
            apart = graph.reshape(f"{name}.columns", x, -1, shape.maps, shape.side, shape.side)
            constants = {"alpha": layer.alpha * layer.maps, "beta": 0.75, "bias": layer.k}  # ONNX divides alpha by size
            normalized = graph.add(f"{name}.apart", "LRN", apart, size=layer.maps, **constants)
            return graph.reshape(name, normalized, -1, shape.maps * columns, shape.side, shape.side)
        case NormalizeWithin():
            return _add_normalization_within(graph, x, name, layer)


def _add_convolution(graph: _Graph, x: str, network: Network, name: str, layer: Convolution, shape: Shape) -> str:
    module = network.get_submodule(name)
    before, after = layer.padding_for(shape.side)
    window = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2, "pads": [before] * 2 + [after] * 2}
    weight, bias = (_constant_parameter(graph, network, f"{name}.{part}") for part in ("weight", "bias"))
    if isinstance(module, nn.Conv2d):
        return graph.add(name, "Conv", x, weight, bias, group=module.groups, **window)
    side = layer.output(shape).side
    # Each window as a column: a convolution with one-hot kernels copies its pixels.
    area = layer.kernel**2
    one_hot = np.tile(np.eye(area, dtype=np.float32), (shape.maps, 1)).reshape(-1, 1, layer.kernel, layer.kernel)
    kernels = graph.constant(f"{name}.one_hot", one_hot)
    copied = graph.add(f"{name}.copied", "Conv", x, kernels, group=shape.maps, **window)
    windows = graph.reshape(f"{name}.windows", copied, -1, shape.maps * area, side**2)
    products = graph.add(f"{name}.products", "Einsum", windows, weight, equation="nip,mpi->nmp")
    places = graph.add(f"{name}.places", "Add", products, bias)
    return graph.reshape(name, places, -1, layer.maps, side, side)


def _add_connected(graph: _Graph, x: str, network: Network, name: str) -> str:
    module = network.get_submodule(name)
    if not isinstance(module, GroupedLinear):
        weight, bias = (_constant_parameter(graph, network, f"{name}.{part}") for part in ("weight", "bias"))
        return graph.add(name, "Gemm", x, weight, bias, transB=1)
    parts = [f"{name}.input.{group}" for group in range(module.groups)]
    graph.nodes.append(helper.make_node("Split", [x], parts, f"{name}.input", axis=1))
    weights, biases = (parameter.detach().chunk(module.groups) for parameter in (module.weight, module.bias))
    outputs = [
        graph.add(
            f"{name}.{group}",
            "Gemm",
            part,
            graph.constant(f"{name}.weight.{group}", weights[group].numpy()),
            graph.constant(f"{name}.bias.{group}", biases[group].numpy()),
            transB=1,
        )
        for group, part in enumerate(parts)
    ]
    return graph.add(name, "Concat", *outputs, axis=1)


def _add_normalization_within(graph: _Graph, x: str, name: str, layer: NormalizeWithin) -> str:
    squares = graph.add(f"{name}.squares", "Mul", x, x)
    window = {"kernel_shape": [layer.window] * 2, "pads": [layer.window // 2] * 4, "count_include_pad": 1}
    mean = graph.add(f"{name}.mean", "AveragePool", squares, **window)
    scaled = graph.add(f"{name}.scaled", "Mul", mean, graph.constant(f"{name}.alpha", layer.alpha * layer.window**2))
    base = graph.add(f"{name}.base", "Add", scaled, graph.constant(f"{name}.k", 1.0))
    divisor = graph.add(f"{name}.divisor", "Pow", base, graph.constant(f"{name}.exponent", 0.75))
    return graph.add(name, "Div", x, divisor)


def _constant_parameter(graph: _Graph, network: Network, name: str) -> str:
    return graph.constant(name, network.get_parameter(name).detach().numpy())
