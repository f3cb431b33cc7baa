"""The permutations that the epochs of a loader go through: their samples, the order, and what is done to each."""

from collections.abc import Sequence
from typing import NamedTuple

from ..shards import Split, Statistics
from .choices import Choices
from .draws import EpochDraws, Order, draw_epoch
from .sampling import Plan, Samples
from .transform import Transform
from .views import Views, choose_parts


class Permutation(NamedTuple):
    """entries: the sample of each entry, in the order of the plan. order: of the entries. choices: of each part."""

    entries: Samples
    order: Samples
    choices: Sequence[Choices]


class Permutations:
    """The permutations of a split by a sampling plan: a pure function of the seed, the order and the transform.

    window: number of shards in the window, for the order `windowed`. repeats: occurrences of each entry.
    """

    def __init__(
        self,
        split: Split,
        plan: Plan,
        *,
        seed: int,
        order: Order,
        window: int | None,
        statistics: Statistics | None,
        repeats: int,
    ) -> None:
        self.plan = plan
        self._split = split
        self._seed = seed
        self._order: Order = order
        self._window = window
        self._statistics = statistics
        self._repeats = repeats
        self._drawn: tuple[tuple[int, Transform | Views], Permutation] | None = None

    def order_of(self, number: int) -> Samples:
        """Return the samples of a permutation in the order in which they come: int32 (n,)."""
        entries = self.plan.entries(self._seed, number)
        return entries[self._draw(number, entries).order]

    def draw(self, number: int, transform: Transform | Views) -> Permutation:
        """Return a permutation. The last one is kept."""
        if self._drawn is None or self._drawn[0] != (number, transform):
            self._drawn = None  # before the next draws are made, so that memory holds one epoch's
            entries = self.plan.entries(self._seed, number)
            draws = self._draw(number, entries)
            sizes = self._split.sizes[entries] if self.plan.text else self._split.sizes
            choices = choose_parts(transform, draws, sizes, self._statistics, self._repeats)
            self._drawn = (number, transform), Permutation(entries, draws.order, choices)
        return self._drawn[1]

    def _draw(self, number: int, entries: Samples) -> EpochDraws:
        return draw_epoch(
            len(entries),
            seed=self._seed,
            epoch=number,
            order=self._order,
            shards=self._split.samples["shard"][entries] if self._order == "windowed" else None,
            window=self._window or 1,
        )
