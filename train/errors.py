"""Errors over a split: the centre view, or softmax averaged over ten views (paper section 4.1)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from ..pipeline import Batch
from .network.network import Network


@dataclass(frozen=True)
class Errors:
    """How many of `images` had their label outside the best one and the best five."""

    images: int
    wrong_top1: int
    wrong_top5: int

    @property
    def top1(self) -> float:
        """Top-1 error, 0..1."""
        return self.wrong_top1 / self.images

    @property
    def top5(self) -> float:
        """Top-5 error, 0..1."""
        return self.wrong_top5 / self.images


@torch.no_grad()
def view_probabilities(network: Network, images: torch.Tensor) -> torch.Tensor:
    """Return class probabilities (n, classes) of images (n, 3, S, S), or of (n, views, 3, S, S), averaged over views.

    The images take the network's precision.
    """
    views = images.flatten(0, 1) if images.ndim == 5 else images
    precision = next((parameter.dtype for parameter in network.parameters()), views.dtype)
    probabilities: torch.Tensor = network(views.to(precision)).softmax(dim=1)
    return probabilities.reshape(len(images), -1, probabilities.shape[1]).mean(dim=1)


def default_device() -> str:
    """Return where one process looks at pictures: the first GPU, or else the CPU."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def predict(network: Network, batches: Iterable[Batch]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the class probabilities (n, classes), averaged over views, and the labels (n,) of each batch."""
    for images, labels, _ in batches:
        if len(labels):  # else other ranks have the rest of the last batch
            yield view_probabilities(network, images), labels


def label_ranks(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return how many classes of (n, classes) come before each label (n,): 0 is right. Of equals the first comes first.

    All classes come before the label where the probabilities are not numbers.
    """
    own = probabilities.gather(1, labels[:, None])
    later = torch.arange(probabilities.shape[1], device=labels.device) >= labels[:, None]
    after = (probabilities < own) | ((probabilities == own) & later)
    return probabilities.shape[1] - after.sum(dim=1)


def evaluate(network: Network, batches: Iterable[Batch]) -> Errors:
    """Count a network's errors."""
    images, wrong = 0, torch.zeros(2, dtype=torch.int64)
    for probabilities, labels in predict(network, batches):
        ranks = label_ranks(probabilities, labels)
        images += len(labels)
        wrong = wrong.to(ranks.device) + torch.stack([(ranks >= 1).sum(), (ranks >= 5).sum()])
    return Errors(images, *wrong.tolist())
