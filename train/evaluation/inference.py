"""A trained network in use: in its recipe's precision, without gradients."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..checkpoint import Checkpoint
from ..evaluator import view_probabilities
from ..network.network import Network
from ..network.normalization import Normalization
from ..parallel.columns import Columns
from ..precision import Precision
from .alike import computing_alike

COMPILED_FROM = 20_000
"""From this many views on, compiling takes less time than it saves: 8 s once, 1 ms of a thread each."""


@dataclass(frozen=True)
class Inference:
    """network: in `eval` mode. precision: of its recipe. Only within the context of `inference`."""

    network: Network
    precision: Precision

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return class probabilities (n, classes) of images as of `view_probabilities`, in float32 on the device."""
        views = images.flatten(0, 1) if images.ndim == 5 else images
        return view_probabilities(self.network, self._inputs(views).reshape(images.shape)).float()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the last layer, (n, features), of images (n, 3, S, S), in float32 on the device."""
        return self.network.features(self._inputs(images)).float()

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (n, 3, S, S) in the network's dtype and memory order."""
        if self.precision.channels_last:
            return self.precision.inputs(images.permute(0, 2, 3, 1).contiguous())
        return self.precision.inputs(images)


@contextmanager
def inference(
    trained: Checkpoint,
    device: str,
    columns: Columns = Columns(),  # noqa: B008
    *,
    views: int,
    compile_: bool | None = None,
) -> Iterator[Inference]:
    """Open the network of a checkpoint, or this process's columns of it, on a device, for use inside the context.

    views: how many all processes will show to it, about. compile_: compile the response normalisation, as of
    `TrainingConfig`; None compiles it if that pays.
    """
    if compile_ is None:
        compile_ = views >= COMPILED_FROM
    on_cpu = torch.device(device).type == "cpu"
    precision = Precision(trained.recipe.precision, channels_last=on_cpu, device=device)
    network = precision.place(trained.network(columns, compile_=compile_))
    with precision.arithmetic(), precision.autocast(), torch.no_grad(), computing_alike(network):
        opened = Inference(network, precision)
        if compile_ and any(isinstance(module, Normalization) for module in network.modules()):
            logging.getLogger(__name__).info("compiling the response normalisation")
            side = trained.recipe.crop_size
            opened.probabilities(torch.zeros((2, 3, side, side), device=device))
        yield opened
