"""Groups of samples with fixed shares of every epoch: classes, or the parts of a mixture."""

import functools
from collections.abc import Sequence

import numpy as np

from ..seeds import seeds_of
from .plan import Samples, digest


class Evenly:
    """The plan in which every epoch has `counts[g]` entries from group g.

    groups: of each group its samples, at least one. The epochs go through a group's samples in permutation after
    permutation: all come once before one comes again. The samples of an epoch are a pure function of (seed, epoch) all
    the same, because only the first and the last permutation of its entries matter.
    """

    def __init__(self, groups: Sequence[Samples], counts: Sequence[int]) -> None:
        self._groups = groups
        self._counts = counts

    def __len__(self) -> int:
        return sum(self._counts)

    @functools.cached_property
    def text(self) -> str:
        """Length of an epoch, and hashes of groups and samples."""
        counts, sizes = (np.array(numbers, np.int64) for numbers in (self._counts, [*map(len, self._groups)]))
        return (
            f"{len(self)} by counts {digest(np.concatenate([counts, sizes]))} of {digest(np.concatenate(self._groups))}"
        )

    def entries(self, seed: int, epoch: int) -> Samples:
        """Return the sample of each entry, ascending. 1,281,167 of 1,000 groups take 0.06 s and 10 MB."""
        # One key for all epochs, as a permutation can reach from one into the next. A counter-based generator has a
        # stream for each place of its counter: here for each group and permutation.
        key = seeds_of("evenly", seed).generate_state(2, np.uint64)
        found = []
        for number, (group, count) in enumerate(zip(self._groups, self._counts, strict=True)):
            first, begin = divmod(epoch * count, len(group))
            last, end = divmod(epoch * count + count, len(group))
            of_group = np.full(len(group), last - first)
            for permutation, place, sign in ((first, begin, -1), (last, end, 1)):
                if place:
                    philox = np.random.Philox(key=key, counter=(0, 0, permutation, number))
                    of_group[np.random.Generator(philox).permutation(len(group))[:place]] += sign
            found.append(np.repeat(group, of_group))
        entries = np.concatenate(found)
        entries.sort()
        return entries
