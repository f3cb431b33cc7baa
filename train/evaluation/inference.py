"""A trained network in use: in its recipe's precision, without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..checkpoint import Checkpoint
from ..evaluator import view_probabilities
from ..network.network import Network
from ..parallel.columns import Columns
from ..precision import Precision
from .alike import computing_alike


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
def inference(trained: Checkpoint, device: str, columns: Columns = Columns()) -> Iterator[Inference]:  # noqa: B008
    """Open the network of a checkpoint, or this process's columns of it, on a device, for use inside the context."""
    precision = Precision(trained.recipe.precision, channels_last=False, device=device)
    network = precision.place(trained.network(columns))
    with precision.arithmetic(), precision.autocast(), torch.no_grad(), computing_alike(network):
        yield Inference(network, precision)
