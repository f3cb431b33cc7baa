"""Which images to show: of as many classes as possible."""

import numpy as np
import numpy.typing as npt


def one_of_each_class(labels: npt.NDArray[np.int64], count: int) -> list[int]:
    """Return the places of `count` images: the first of each class in the order given, then the second of each."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    return [int(place) for place in np.argsort(turn, kind="stable")[:count]]
