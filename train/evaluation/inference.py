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
        return view_probabilities(self.network, self.precision.inputs(images)).float()

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the last layer, (n, features), of images (n, 3, S, S), in float32 on the device."""
        return self.network.features(self.precision.inputs(images)).float()


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
    precision = Precision(trained.recipe.precision, channels_last=False, device=device)
    network = precision.place(trained.network(columns, compile_=compile_))
    with precision.arithmetic(), precision.autocast(), torch.no_grad(), computing_alike(network):
        opened = Inference(network, precision)
        if compile_ and any(isinstance(module, Normalization) for module in network.modules()):
            logging.getLogger(__name__).info("compiling the response normalisation")
            side = trained.recipe.crop_size  # two images: of one, nothing is compiled
            opened.probabilities(torch.zeros((2, 3, side, side), device=device))
        yield opened
