"""Compute a network on the CPU to the same bits with any number of threads, and in one or two processes per network.

Torch shares a matrix product among its threads, and the shape of a thread's part decides the order of its sums: with
another number of threads, the last bits differ. So here each product is cut into parts of fixed shape, each of which
one thread computes. A network's columns are separate parts too, as in processes that hold one column each. Products of
batches of another size may differ: whoever compares bits must compare the same batches.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..network.modules import GroupedLinear, LocallyConnected
from ..network.network import Network
from ..parallel.columns import is_channels_last, part_sizes

Layer = Callable[[torch.Tensor], torch.Tensor]

ROWS = 256
"""Maximum number of outputs of a fully connected layer that one thread computes at a time."""


@contextmanager
def computing_alike(network: Network) -> Iterator[None]:
    """Replace the layers with weights of a network on the CPU, in place and for good; a GPU's stay as they are.

    The network computes on torch's threads inside the context only.
    """
    if next(network.parameters()).device.type != "cpu":
        yield
        return
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, "freelight-evaluate", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name, module in list(network.named_children()):
            if next(module.parameters(), None) is not None:
                network.set_submodule(name, _Parts(module, network.local_columns, pool if threads > 1 else None))
        try:
            yield
        finally:
            torch.set_num_threads(threads)  # the pool's setting would be the default of later threads


class _Parts(nn.Module):
    """A layer in parts along its outputs: those of each column, and blocks of rows of a fully connected layer."""

    def __init__(self, module: Any, columns: int, pool: ThreadPoolExecutor | None) -> None:
        super().__init__()
        groups = getattr(module, "groups", 1)
        self.parts: list[Layer] = []
        self.inputs: list[int | None] = []
        """Which of the groups of inputs a part takes; None takes all."""
        first = 0
        for column, size in enumerate(part_sizes(len(module.weight), columns)):
            for rows in _blocks(first, size, module):
                self.parts.append(_part(module, rows))
                self.inputs.append(column if groups > 1 else None)
            first += size
        self.groups = groups
        # oneDNN's convolutions do not depend on the number of threads; all other products do.
        is_convolution = isinstance(module, nn.Conv2d) and module.weight.dtype == torch.float32
        self.pool = None if is_convolution else pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer returns."""
        order = torch.channels_last if is_channels_last(x) else torch.contiguous_format
        groups = x.chunk(self.groups, dim=1)
        inputs = [x if group is None else groups[group].contiguous(memory_format=order) for group in self.inputs]
        if self.pool is None:
            outputs = [part(own) for part, own in zip(self.parts, inputs, strict=True)]
        else:
            autocast = torch.is_autocast_enabled("cpu")

            @torch.no_grad()
            def compute(part: Layer, own: torch.Tensor) -> torch.Tensor:
                with torch.autocast("cpu", torch.get_autocast_dtype("cpu"), enabled=autocast):
                    return part(own)

            outputs = list(self.pool.map(compute, self.parts, inputs))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


def _blocks(first: int, size: int, module: nn.Module) -> Iterator[slice]:
    step = ROWS if isinstance(module, nn.Linear | GroupedLinear) else size
    for start in range(first, first + size, step):
        yield slice(start, min(start + step, first + size))


@torch.no_grad()
def _part(module: Any, rows: slice) -> Layer:
    """Return a layer of these outputs alone, with memory of its own: a product may depend on its alignment."""
    weight, bias = module.weight[rows].clone(), module.bias[rows].clone()
    if isinstance(module, nn.Conv2d):
        return functools.partial(
            F.conv2d,
            weight=weight,
            bias=bias,
            stride=module.stride,
            padding=module.padding,
        )
    if isinstance(module, LocallyConnected):
        part = copy.copy(module)
        part._parameters = {"weight": nn.Parameter(weight), "bias": nn.Parameter(bias)}
        return part
    return functools.partial(F.linear, weight=weight, bias=bias)
