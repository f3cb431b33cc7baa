"""Averages of networks' probabilities (paper section 6): with equal weights, with given ones, or with searched ones.

The 2012 code searched its weights on the very set that it then measured; so does `search_weights`, if asked.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...shards import FreelightError

STEPS = 1000


def equal_weights(networks: int) -> npt.NDArray[np.float64]:
    """Return the weights (networks,) of a plain mean."""
    return np.full(networks, 1 / networks)


def read_weights(text: str, networks: int) -> npt.NDArray[np.float64]:
    """Read `0.5,0.3,0.2`, one weight a network; they are scaled to a sum of 1."""
    try:
        weights = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise FreelightError(f"--weights {text!r}: expected numbers separated by commas, one a network") from None
    if len(weights) != networks:
        raise FreelightError(f"--weights {text!r} are {len(weights)} numbers for {networks} networks; give one each")
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise FreelightError(f"--weights {text!r} must not be negative, nor all 0")
    scaled: npt.NDArray[np.float64] = weights / weights.sum()
    return scaled


def average(probabilities: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the weighted mean (n, classes) of (networks, n, classes) probabilities."""
    mean: npt.NDArray[np.float32] = np.einsum("w,wnc->nc", weights, probabilities).astype(np.float32)
    return mean


def search_weights(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, steps: int = STEPS
) -> npt.NDArray[np.float64]:
    """Return the weights (networks,) whose average has the least loss on these very labels.

    The loss is convex in the weights, and expectation maximisation of a mixture only ever lowers it: each weight
    becomes the share that its network has of the labels' probability. Deterministic.
    """
    rows = np.arange(len(labels))
    own = np.maximum(probabilities[:, rows, labels].astype(np.float64), np.finfo(np.float32).tiny)
    weights = equal_weights(len(own))
    for _ in range(steps):
        shares = weights[:, None] * own
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def format_weights(weights: Sequence[float] | npt.NDArray[np.float64]) -> str:
    """Return the weights as text, as `--weights` takes them."""
    return ",".join(f"{weight:.3f}" for weight in weights)
