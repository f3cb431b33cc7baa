"""Several views of each image, each with a transform and draws of its own: SimCLR's pair, multi-crop."""

from dataclasses import dataclass

import numpy as np

from ..shards import FreelightError, Statistics
from ..shards.base import instance_of, whole_number
from .choices import Choices
from .draws import EpochDraws
from .ops import Sizes
from .reading import Share
from .repeats import choose_occurrences
from .transform import Transform


@dataclass(frozen=True, init=False, repr=False)
class Views:
    """A loader's transforms of the views of each image, in place of one transform.

    parts: each a transform, or a pair (transform, number of views).

        Views((augmented, 2))
        Views((large, 2), (small, 8))

    `Batch.images` is then a tuple with a tensor for each view, in this order. The draws of a view belong to (seed,
    epoch, sample, repeat, view); those of the first are the draws that its transform has alone. For the reference of
    view v pass `draws.occurrence(view=v)` to `Transform.apply`. On the CPU, resized crops of an image are cut out of
    one decoding; other crops, and a GPU, decode each view's window.
    """

    parts: tuple[tuple[Transform, int], ...]

    def __init__(self, *parts: Transform | tuple[Transform, int]) -> None:
        found = []
        for part in parts:
            if not isinstance(part, tuple | list):
                part = (part, 1)
            if len(part) != 2:
                raise FreelightError(f"views: {part!r} is not a pair (transform, number of views)")
            transform = instance_of(Transform, "views", part[0])
            if transform.views > 1:
                raise FreelightError(
                    f"views: {type(transform.crop).__name__} makes {transform.views} views of its own; give the loader "
                    "its transform alone"
                )
            found.append((transform, whole_number("number of views", part[1], least=1)))
        if not found:
            raise FreelightError("views: give at least one transform")
        object.__setattr__(self, "parts", tuple(found))

    def __repr__(self) -> str:
        return f"Views({', '.join(map(repr, self.parts))})"

    def __str__(self) -> str:
        """Return each transform's steps, after the number of its views."""
        return "\n".join(f"{views} {'view' if views == 1 else 'views'}\n{transform}" for transform, views in self.parts)

    @property
    def needs_statistics(self) -> bool:
        """Whether a transform uses the training set's mean or eigenbasis."""
        return any(transform.needs_statistics for transform, _ in self.parts)

    def check(self, sizes: Sizes, statistics: Statistics | None) -> None:
        """Raise `FreelightError` if a transform does not fit a dataset's images or statistics."""
        for transform, _ in self.parts:
            transform.check(sizes, statistics)


def checked(transform: object) -> Transform | Views:
    """Return a loader's argument `transform`. Raises `FreelightError` if it is neither a `Transform` nor `Views`."""
    return transform if isinstance(transform, Views) else instance_of(Transform, "transform", transform)


def parts_of(transform: Transform | Views) -> tuple[tuple[Transform, int], ...]:
    """Return the transforms, each with its number of views."""
    return transform.parts if isinstance(transform, Views) else ((transform, 1),)


def choose_parts(
    transform: Transform | Views, draws: EpochDraws, sizes: Sizes, statistics: Statistics | None, repeats: int
) -> list[Choices]:
    """Return what each part does to every view of every repeat of a sample, in the numbering of `viewed`."""
    chosen, first = [], 0
    for part, count in parts_of(transform):
        occurrences = [(repeat, view) for repeat in range(repeats) for view in range(first, first + count)]
        chosen.append(choose_occurrences(part, draws, occurrences, sizes, statistics))
        first += count
    return chosen


def viewed(share: Share, views: int, samples: int) -> Share:
    """Return the occurrences of a part with so many views: the first view of all in `share`, then the second of each.

    Each is numbered (repeat * views + view) * samples + sample.
    """
    if views == 1:
        return share
    repeat, sample = np.divmod(share, np.int32(samples))
    view = np.arange(views, dtype=np.int32)[:, None]
    return ((repeat * views + view) * samples + sample).ravel()
