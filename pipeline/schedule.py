"""The transform by epoch: progressive resolution, a magnitude that grows, lighting noise that ends."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field

from ..shards import FreelightError, Statistics
from ..shards.base import whole_number
from .ops import Sizes
from .transform import Transform
from .views import Views, checked


@dataclass(frozen=True, repr=False)
class Schedule:
    """A loader's transform by epoch, in place of one for all epochs.

    transforms: each a `Transform` or `Views`, by the first epoch of its use; one must be for epoch 0.

        Schedule({0: plain, 16: augmented})
        Schedule({epoch: Transform(crop=RandomResizedCrop(size=160 + epoch // 30 * 32)) for epoch in range(60)})

    The second has one transform per epoch; equal neighbours become one. Where the crop's size changes, the shape of
    batches does too. `parts` are the pairs (first epoch, transform).
    """

    transforms: InitVar[Mapping[int, Transform | Views]]
    parts: tuple[tuple[int, Transform | Views], ...] = field(init=False)

    def __post_init__(self, transforms: Mapping[int, Transform | Views]) -> None:
        if not isinstance(transforms, Mapping):
            raise FreelightError("schedule: give a dict of transforms, each by the first epoch of its use")
        firsts = sorted(whole_number("first epoch", epoch) for epoch in transforms)
        if firsts[:1] != [0]:
            raise FreelightError(f"schedule: no transform for epoch 0; the first epochs are {firsts}")
        parts: list[tuple[int, Transform | Views]] = []
        for first in firsts:
            transform = checked(transforms[first])
            if not parts or transform != parts[-1][1]:
                parts.append((first, transform))
        object.__setattr__(self, "parts", tuple(parts))

    def __repr__(self) -> str:
        return f"Schedule({dict(self.parts)})"

    def __str__(self) -> str:
        """Return each transform's steps, after the first epoch of its use."""
        return "\n".join(f"from epoch {first}\n{transform}" for first, transform in self.parts)

    def at(self, epoch: int) -> Transform | Views:
        """Return the transform of an epoch."""
        return next(transform for first, transform in reversed(self.parts) if first <= epoch)

    @property
    def needs_statistics(self) -> bool:
        """Whether a transform uses the training set's mean or eigenbasis."""
        return any(transform.needs_statistics for _, transform in self.parts)

    def check(self, sizes: Sizes, statistics: Statistics | None) -> None:
        """Raise `FreelightError` if a transform does not fit a dataset's images or statistics."""
        for _, transform in self.parts:
            transform.check(sizes, statistics)


def as_schedule(transform: Transform | Views | Schedule | None) -> Schedule:
    """Return a loader's argument as a schedule; None is the paper's transform."""
    if isinstance(transform, Schedule):
        return transform
    return Schedule({0: Transform() if transform is None else checked(transform)})
