"""Mix the global batches of a loader, of which this process holds a part: the same on any number of ranks.

The partner of an image is the one before it in the global batch. So of the images that other ranks hold, a rank needs
one: the one before its share. It decodes that one too; no collective is needed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from .blending import blend_with_previous
from .dealing import Dealing
from .decoder import Decoded
from .epochs import EpochPlan, Step
from .graph import Layout
from .mix import Mix
from .ops import Arrays
from .reading import Share


class Mixed(NamedTuple):
    """A batch that was mixed.

    step: its samples on all ranks. images: of `samples`, which this process holds. partners: the sample that each was
    mixed with. weight: of `samples`; the rest is that of `partners`.
    """

    step: Share
    images: torch.Tensor
    samples: Share
    partners: Share
    weight: float


class Mixer:
    """Mixes the batches of a loader whose steps are those of `plan`."""

    def __init__(self, mix: Mix, plan: EpochPlan, *, seed: int, layout: Layout) -> None:
        self._mix = mix
        self._seed = seed
        self._batch_size = plan.batch_size
        self._batches = -(-plan.images // plan.batch_size)
        self._height_axis = -2 if layout == "NCHW" else -3

    def mixed_batches(self, steps: list[Step], batches: Iterator[Decoded], dealing: Dealing) -> Iterator[Mixed]:
        """Yield the batches of consecutive steps of one permutation, mixed in place."""
        drawn = self._mix.table(seed=self._seed, epoch=steps[0].permutation, batches=self._batches)
        for step, decoded in zip(steps, batches, strict=True):
            yield self._mixed(step, decoded, drawn, dealing)

    def _mixed(self, step: Step, decoded: Decoded, drawn: Arrays, dealing: Dealing) -> Mixed:
        """Mix a batch. An image whose partner was skipped is its own partner."""
        images, samples = decoded.images, decoded.samples
        planned = np.concatenate([dealing.share(decoded.step, rank) for rank in dealing.held])
        partners = np.roll(planned, 1)
        kept = np.isin(planned, samples)
        is_alone = kept & ~np.roll(kept, 1)
        first = 0
        if dealing.begins_with_partner(decoded.step):
            first, is_alone[0] = int(kept[0]), False
        height, width = images.shape[self._height_axis], images.shape[self._height_axis + 1]
        blend = self._mix.blend(drawn, step.first // self._batch_size, height, width)
        if len(samples):
            alone = np.flatnonzero(is_alone[kept]).tolist()
            blend_with_previous(images, blend, first=first, alone=alone, height_axis=self._height_axis)
        partners[is_alone] = planned[is_alone]
        return Mixed(decoded.step, images[first:], samples[first:], partners[kept][first:], blend.weight)
