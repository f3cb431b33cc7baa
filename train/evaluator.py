"""The one evaluator: class probabilities, label ranks and error counts, for validation, `evaluate` and `predict`.

A picture is shown as its centre view, or as ten views whose softmax outputs are averaged (paper section 4.1).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from ..pipeline import Batch
from .network.network import Network

TOP = (1, 5)
"""The label counts as found among this many of the most probable classes: top-1 and top-5."""


def has_top5(classes: int) -> bool:
    """Tell whether a top-5 error says anything: with five classes or fewer it is always 0."""
    return classes > TOP[-1]


@dataclass(frozen=True)
class Errors:
    """Counts over `images`: label not the most probable class; label not among the five most probable."""

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

    Computed in the images' dtype, or as autocast says; the softmax at least in float32.
    """
    logits = network(images.flatten(0, 1) if images.ndim == 5 else images)
    probabilities: torch.Tensor = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)
    return probabilities.reshape(len(images), -1, probabilities.shape[1]).mean(dim=1)


def default_device() -> str:
    """Return the device of a single process: the first GPU, else the CPU."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def predict(network: Network, batches: Iterable[Batch]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the class probabilities (n, classes), averaged over views, and the labels (n,) of each batch.

    The network is in `eval` mode meanwhile.
    """
    was_training = network.training
    network.eval()
    try:
        for images, labels, *_ in batches:
            if len(labels):  # this rank's share of a short last batch may be empty
                yield view_probabilities(network, images), labels
    finally:
        network.train(was_training)


def label_ranks(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return each label's rank: how many classes of (n, classes) are more probable than the label (n,); 0 is right.

    Ties go to the lower label. Where the probabilities are NaN, the rank is the number of classes.
    """
    own = probabilities.gather(1, labels[:, None])
    not_lower = torch.arange(probabilities.shape[1], device=labels.device) >= labels[:, None]
    not_ahead = (probabilities < own) | ((probabilities == own) & not_lower)
    return probabilities.shape[1] - not_ahead.sum(dim=1)


def count_errors(ranks: torch.Tensor) -> torch.Tensor:
    """Return how many label ranks (n,) are outside the top 1 and the top 5: int64 (2,), on the ranks' device."""
    return torch.stack([(ranks >= top).sum() for top in TOP])


def evaluate(network: Network, batches: Iterable[Batch]) -> Errors:
    """Count a network's errors. The counts stay on the device until the last batch: no synchronisation inside."""
    images, wrong = 0, torch.zeros(len(TOP), dtype=torch.int64)
    for probabilities, labels in predict(network, batches):
        images += len(labels)
        wrong = wrong.to(labels.device) + count_errors(label_ranks(probabilities, labels))
    return Errors(images, *wrong.tolist())
