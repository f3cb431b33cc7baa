"""Repeated augmentation: a global batch has each of its samples several times, each time with draws of its own.

(Hoffer et al., "Augment Your Batch", 2019; the sampler of DeiT.) An occurrence is one repeat of one sample. The loader
numbers the occurrences of a permutation by `repeat * samples + sample`: without repeats these are the samples.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..shards import Statistics
from .choices import Choices
from .draws import EpochDraws
from .ops import Arrays, Sizes
from .transform import Transform


def repeated(batch: npt.NDArray[np.int32], repeats: int, samples: int) -> npt.NDArray[np.int32]:
    """Return the occurrences of the samples of a global batch: the first of each sample, then the second of each.

    Ranks get contiguous shares, so the occurrences of a sample are on different ranks if there are `repeats` of them.
    """
    firsts = samples * np.arange(repeats, dtype=np.int32)
    return (firsts[:, None] + batch).ravel()


class RepeatedChoices(Choices):
    """Those of every occurrence. repeats: the choices of each repeat, all of `samples` rows."""

    def __init__(self, repeats: Sequence[Choices], samples: int) -> None:
        super().__init__({})
        self._repeats = repeats
        self._samples = samples

    def take(self, samples: npt.NDArray[np.int32]) -> Arrays:
        """Return the rows of these occurrences: of each input one contiguous array."""
        taken: Arrays = {}
        for repeat, choices in enumerate(self._repeats):
            at = samples // self._samples == repeat
            for name, values in choices.take(samples[at] % self._samples).items():
                taken.setdefault(name, np.empty((len(samples), *values.shape[1:]), values.dtype))[at] = values
        return taken

    def only(self, names: Collection[str]) -> "RepeatedChoices":
        """Return those with these names, of crop, flip and lighting."""
        return RepeatedChoices([choices.only(names) for choices in self._repeats], self._samples)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return an input's rows of all occurrences."""
        return np.concatenate([choices[name] for choices in self._repeats])

    def __iter__(self) -> Iterator[str]:
        return iter(self._repeats[0])


def choose_occurrences(
    transform: Transform,
    draws: EpochDraws,
    occurrences: Sequence[tuple[int, int]],
    sizes: Sizes,
    statistics: Statistics | None,
) -> Choices:
    """Return what `Transform.choose` returns, over the (repeat, view) in `occurrences` of all samples."""
    choices = [
        transform.choose(draws.occurrence(repeat=repeat, view=view), sizes, statistics) for repeat, view in occurrences
    ]
    return choices[0] if len(choices) == 1 else RepeatedChoices(choices, len(draws.order))
