"""The order of an epoch and its random draws: pure functions of (seed, epoch).

So a batch can be drawn again anywhere: on another number of ranks, after a restart, or in a test.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..shards import FreelightError

Order = Literal["global", "sequential"]


@dataclass(frozen=True, eq=False)
class EpochDraws:
    """The draws of one epoch. All but `order` are indexed by sample, not by place in the order.

    seed, epoch: what they were drawn from. order: int32 (n,), the samples in the order in which they are seen.
    crop: float32 (n, 2) in [0, 1), the places of the crop's top and left edge. flip: float32 (n,) in [0, 1).
    lighting: float32 (n, 3), standard normal.
    """

    seed: int
    epoch: int
    order: npt.NDArray[np.int32]
    crop: npt.NDArray[np.float32]
    flip: npt.NDArray[np.float32]
    lighting: npt.NDArray[np.float32]


def draw_epoch(samples: int, *, seed: int, epoch: int, order: Order = "global") -> EpochDraws:
    """Draw an epoch over `samples` samples. The draws do not depend on the transform that uses them, nor on `order`."""
    for name, value in (("seed", seed), ("epoch", epoch)):
        if value < 0:
            raise FreelightError(f"{name} (={value}) must not be negative")
    if order not in get_args(Order):
        raise FreelightError(f"order {order!r} is not one of {', '.join(get_args(Order))}")
    generator = np.random.Generator(np.random.Philox((seed, epoch)))
    permutation = generator.permutation(np.arange(samples, dtype=np.int32))
    return EpochDraws(
        seed=seed,
        epoch=epoch,
        order=permutation if order == "global" else np.arange(samples, dtype=np.int32),
        crop=generator.random((samples, 2), dtype=np.float32),
        flip=generator.random(samples, dtype=np.float32),
        lighting=generator.standard_normal((samples, 3), dtype=np.float32),
    )


def share_of(batch: npt.NDArray[np.int32], rank: int, world_size: int) -> npt.NDArray[np.int32]:
    """Return the part of a global batch that `rank` gets: contiguous, the ranks' sizes within one of each other."""
    return np.array_split(batch, world_size)[rank]
