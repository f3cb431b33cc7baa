"""The steps of an epoch: which samples of which permutation each global batch has. A pure function of the settings."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from ..shards import FreelightError
from ..shards.base import check, integer, record, text, whole_number

Last = Literal["short", "drop", "even"]
"""What becomes of an epoch's last global batch if it is short: kept, left out, or cut to a multiple of the ranks."""


class Step(NamedTuple):
    """One global batch: images `first` to `stop` of a permutation; without repeats, the samples `order[first:stop]`."""

    permutation: int
    first: int
    stop: int

    @property
    def size(self) -> int:
        """Number of images, over all ranks."""
        return self.stop - self.first


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """The steps of every epoch.

    samples: entries of the sampling plan, of which each permutation has all. batch_size: images per step, over all
    ranks. last: see `Last`. steps_per_epoch: None for one permutation per epoch; else each epoch has this many steps,
    and the next epoch continues through the permutations. repeats: images of each entry in a step.
    """

    samples: int
    batch_size: int
    world_size: int = 1
    last: Last = "short"
    steps_per_epoch: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.repeats:
            raise FreelightError(
                f"`batch_size` (={self.batch_size}) must be a multiple of `repeats` (={self.repeats}): a batch has "
                "that many images of each of its samples"
            )
        if self.last not in get_args(Last):
            raise FreelightError(f"`last` {self.last!r} is not one of {', '.join(get_args(Last))}")
        if not self._of_permutation(0, 0):
            raise FreelightError(
                f"the split has {self.samples} samples, too few for a batch of {self.batch_size} on {self.world_size} "
                f"ranks with last={self.last!r}: use smaller batches, or last='short'"
            )

    @property
    def images(self) -> int:
        """Number of images of a permutation."""
        return self.samples * self.repeats

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return self.steps_per_epoch or len(self._of_permutation(0, 0))

    def steps(self, epoch: int, position: int = 0) -> list[Step]:
        """Return the steps of `epoch` after its first `position` images.

        With `steps_per_epoch` or `repeats`, raises `FreelightError` if no step ends at `position`.
        """
        if position % self.repeats:
            raise FreelightError(
                f"no step ends at position {position}: it is no multiple of `repeats` (={self.repeats})"
            )
        if self.steps_per_epoch is None:
            return self._of_permutation(epoch, position)
        permutation, skipped = divmod(epoch * self.steps_per_epoch, len(self._of_permutation(0, 0)))
        steps = self._of_permutation(permutation, 0)[skipped:]
        while len(steps) < self.steps_per_epoch:
            permutation += 1
            steps += self._of_permutation(permutation, 0)
        steps = steps[: self.steps_per_epoch]
        while position > 0 and steps:
            position -= steps.pop(0).size
        if position:
            raise FreelightError(
                f"no step of an epoch of {self.steps_per_epoch} steps ends there: with `steps_per_epoch`, resume with "
                "the same `batch_size`"
            )
        return steps

    def _of_permutation(self, permutation: int, first: int) -> list[Step]:
        """Return the steps of one permutation from its image `first` on."""
        short = max(0, self.images - first) % self.batch_size
        dropped = {"short": 0, "drop": short, "even": short % math.lcm(self.world_size, self.repeats)}[self.last]
        end = self.images - dropped
        return [
            Step(permutation, start, min(start + self.batch_size, end)) for start in range(first, end, self.batch_size)
        ]


@dataclass
class Cursor:
    """Where a loader is: the epoch, and the position after the last batch; and where its next iteration starts.

    continues: the next iteration continues here, because no batch was taken since a state was loaded. is_named: so that
    epoch was named by `set_epoch` since.
    """

    epoch: int = 0
    position: int = 0
    continues: bool = False
    is_named: bool = False

    def name(self, epoch: int) -> bool:
        """Let the next iteration start `epoch`, or continue it after a load. Return whether the cursor moved."""
        self.is_named = True
        if self.continues and epoch == self.epoch:
            return False
        self.epoch, self.position, self.continues = epoch, 0, False
        return True

    def load(self, epoch: int, position: int) -> None:
        """Let the next iteration continue at `position` of `epoch`."""
        self.epoch, self.position, self.continues, self.is_named = epoch, position, True, False

    def begin(self, plan: EpochPlan) -> None:
        """Go to where the next iteration starts: to the next epoch if a batch of this one was taken.

        A loaded state at the end of an epoch continues with the next one too, unless `set_epoch` named the finished
        one: then nothing is left of it.
        """
        if self.continues:
            leaves = not self.is_named and not plan.steps(self.epoch, self.position)
        else:
            leaves = self.position > 0
        if leaves:
            self.leave()

    def advance(self, images: int) -> None:
        """Count a batch that was taken."""
        self.position += images
        self.continues = self.is_named = False

    def leave(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch, self.position, self.continues = self.epoch + 1, 0, False


STATE = record(
    {
        **{name: text() for name in ("fingerprint", "split", "order", "transform")},
        **{name: integer() for name in ("seed", "epoch", "position")},
    },
    {
        **{name: integer() for name in ("window", "steps_per_epoch", "batch_size", "repeats")},
        **{name: text() for name in ("mix", "sampling")},
    },
)
"""A loader's state. `window` (shards), `steps_per_epoch` and `batch_size`, which depend on each other, `repeats`,
`mix` and `sampling` are in it if set."""


def check_state(
    state: Mapping[str, Any], own: Mapping[str, Any], plan: EpochPlan, *, transform: Callable[[int], str]
) -> None:
    """Raise `FreelightError` unless a loader whose state is `own` can continue after `state`.

    It must be of the same dataset, split, seed, order, window, sampling plan, `steps_per_epoch` and `repeats`; inside
    an epoch, also of the same transform and mix. transform: the loader's by epoch, as text.
    """
    check(state, STATE, where="the loader's state", remedy="pass what state_dict returned")
    keys = ("fingerprint", "split", "seed", "order", "window", "sampling", "steps_per_epoch", "batch_size", "repeats")
    different = [key for key in keys if state.get(key) != own.get(key)]
    if not different:
        most = plan.images if plan.steps_per_epoch is None else plan.batch_size * plan.steps_per_epoch
        whole_number("position", state["position"], most=most)
        is_inside = state["position"] > 0 and plan.steps(state["epoch"], state["position"])
        own = {**own, "transform": transform(state["epoch"])}
        different = [key for key in ("transform", "mix") if is_inside and state.get(key) != own.get(key)]
    if different:
        key = different[0]
        raise FreelightError(
            f"the loader's state is for another {key}: {state.get(key)!r}, not {own.get(key)!r}; "
            "make the loader with the same settings and data, or do not load the state"
        )
