"""Weighted averages of several networks' probabilities (paper section 6).

The 2012 code searched the weights on the same set that it then measured, which makes the error optimistic.
`search_weights` does the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError
from .predictions import Predictions

STEPS = 1000

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """An average of networks. probabilities: float32 (n, classes). weights: float64 (networks,), of sum 1.

    origin: how the weights were chosen, for the reader of a result.
    """

    probabilities: npt.NDArray[np.float32]
    weights: Weights
    origin: str


def check_weights(text: str | None, *, search: bool, networks: int) -> Weights | None:
    """Return the weights (networks,) that `text` holds; None without a text.

    Raises `FreelightError` if there is no network, if both a text and a search are given, or if the text is wrong.
    """
    if not networks:
        raise FreelightError("there is no network: give `checkpoints`, or predictions files in `earlier`")
    if text is not None and search:
        raise FreelightError("`weights` and `search_weights` exclude each other: give one of them")
    return None if text is None else read_weights(text, networks)


def read_weights(text: str, networks: int) -> Weights:
    """Read `0.5,0.3,0.2`, one weight per network; they are scaled to a sum of 1."""
    try:
        weights = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise FreelightError(f"`weights` (={text}): expected one number per network, separated by commas") from None
    if len(weights) != networks:
        raise FreelightError(
            f"`weights` (={text}) has {len(weights)} numbers for {networks} networks: give one per network"
        )
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise FreelightError(f"`weights` (={text}) must be 0 or more, and not all 0")
    scaled: Weights = weights / weights.sum()
    return scaled


def average_networks(predictions: Predictions, weights: Weights | None, *, search: bool) -> Ensemble:
    """Average the networks with the given weights (networks,), or with searched ones, or with equal ones."""
    if weights is not None:
        origin = "as given"
    elif search:
        weights = search_weights(predictions.probabilities, predictions.labels)
        origin = "SEARCHED ON THESE LABELS: optimistic"
    else:
        weights, origin = equal_weights(len(predictions.names)), "equal"
    return Ensemble(probabilities=average(predictions.probabilities, weights), weights=weights, origin=origin)


def equal_weights(networks: int) -> Weights:
    """Return the weights (networks,) of a plain mean."""
    return np.full(networks, 1 / networks)


def average(probabilities: npt.NDArray[np.float32], weights: Weights) -> npt.NDArray[np.float32]:
    """Return the weighted mean (n, classes) of (networks, n, classes) probabilities."""
    mean: npt.NDArray[np.float32] = np.einsum("w,wnc->nc", weights, probabilities).astype(np.float32)
    return mean


def search_weights(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, steps: int = STEPS
) -> Weights:
    """Return the weights (networks,) whose average has the lowest loss on these labels. Deterministic.

    The loss is convex in the weights. Each step is expectation maximisation of a mixture, which never raises it: a
    weight becomes its network's share of the labels' probability.
    """
    rows = np.arange(len(labels))
    own = np.maximum(probabilities[:, rows, labels].astype(np.float64), np.finfo(np.float32).tiny)
    weights = equal_weights(len(own))
    for _ in range(steps):
        shares = weights[:, None] * own
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def format_weights(weights: Sequence[float] | Weights) -> str:
    """Return the weights as text, in the form that `read_weights` reads."""
    return ",".join(f"{weight:.3f}" for weight in weights)
