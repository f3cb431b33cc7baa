"""Mixup (Zhang et al., 2017) and CutMix (Yun et al., 2019): what is drawn for each global batch, and soft labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ..shards import FreelightError
from ..shards.base import check_fields
from .draws import OpStream
from .ops import Arrays
from .transform import Transform
from .views import Views

MixedLabels = Literal["soft", "pairs"]
MOST_ALPHA = 1000.0
"""Limit of alpha: Beta(1000, 1000) is 0.5 ± 0.01 already."""


class Pairs(NamedTuple):
    """The labels of a mixed batch with `Mix(labels="pairs")`.

    labels, partners: int64 (n,), of each image and of the one that it was mixed with. weights: float32 (n,), the share
    of `labels`; `partners` has the rest.
    """

    labels: torch.Tensor
    partners: torch.Tensor
    weights: torch.Tensor


class Blend(NamedTuple):
    """How a global batch is mixed. weight: of each image, 0..1; the rest is its partner's.

    box: top, left, bottom, right of what CutMix takes from the partner, pixels; None: the images are averaged.
    """

    weight: float
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Mix each image of a global batch with the one before it, the first with the last, as torchvision does.

    mixup_alpha: of Mixup's Beta(alpha, alpha); 0: no Mixup. cutmix_alpha: the same of CutMix. prob: probability that a
    batch is mixed. switch_prob: of CutMix, where both are on. label_smoothing: share of a label that all classes get.
    labels: `soft`, float32 (n, classes) that sum to 1; or `pairs`, for a loss that is computed twice: see `Pairs`.

    Names and law are timm's (mode `batch`) and torchvision's. A batch has one weight and one box. The weight of CutMix
    is corrected to the area of the box inside the image. The draws are a pure function of (seed, epoch, the batch's
    place in the epoch); so a batch is the same on any number of ranks.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    prob: float = 1.0
    switch_prob: float = 0.5
    label_smoothing: float = 0.0
    labels: MixedLabels = "soft"

    def __post_init__(self) -> None:
        check_fields(self)
        for name, most in (("mixup_alpha", MOST_ALPHA), ("cutmix_alpha", MOST_ALPHA), ("prob", 1), ("switch_prob", 1)):
            self._check_range(name, most)
        self._check_range("label_smoothing", 1)
        if not (self.mixup_alpha or self.cutmix_alpha or self.label_smoothing):
            raise FreelightError("mix: all is off; set `mixup_alpha`, `cutmix_alpha` or `label_smoothing`")
        if self.labels == "pairs" and self.label_smoothing:
            raise FreelightError("mix: labels='pairs' are not smoothed; give `label_smoothing` to the loss")

    def _check_range(self, name: str, most: float) -> None:
        value = getattr(self, name)
        if not 0 <= value <= most:
            raise FreelightError(f"mix: `{name}` (={value}) must be in 0..{most:g}")
        object.__setattr__(self, name, float(value))  # equal settings have equal reprs, which loader states compare

    @property
    def blends(self) -> bool:
        """Whether images are mixed, or labels alone are smoothed."""
        return bool(self.mixup_alpha or self.cutmix_alpha)

    def check(self, transforms: Iterable[Transform | Views]) -> None:
        """Raise `FreelightError` if images of a transform cannot be mixed."""
        for transform in transforms:
            if isinstance(transform, Views):
                raise FreelightError("`mix` blends one tensor of images, not Views; omit one of the two")
            if self.mixup_alpha and transform.dtype == "uint8":
                raise FreelightError(
                    "mix: Mixup averages images, which needs a transform with dtype='float32', not 'uint8'"
                )

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the random numbers of `count` batches."""
        drawn: Arrays = {
            "chance": generator.random(count),
            "switch": generator.random(count),
            "center": generator.random((count, 2)),
        }
        for name, alpha in (("mixup", self.mixup_alpha), ("cutmix", self.cutmix_alpha)):
            if alpha:
                drawn[name] = generator.beta(alpha, alpha, count)
        return drawn

    def table(self, *, seed: int, epoch: int, batches: int) -> Arrays:
        """Draw an epoch of `batches` batches; it has a random stream of its own."""
        return OpStream(seed=seed, epoch=epoch, name="mix", place=0).table(batches, self.draw)

    def blend(self, drawn: Arrays, batch: int, height: int, width: int) -> Blend:
        """Return how the batch with number `batch` of `drawn` is mixed. height, width: of its images, pixels."""
        if drawn["chance"][batch] >= self.prob or not self.blends:
            return Blend(1.0)
        if not self.cutmix_alpha or (self.mixup_alpha and drawn["switch"][batch] >= self.switch_prob):
            return Blend(float(drawn["mixup"][batch]))
        half = 0.5 * np.sqrt(1 - drawn["cutmix"][batch])
        (top, bottom), (left, right) = (
            (max(int(center * side) - int(half * side), 0), min(int(center * side) + int(half * side), side))
            for center, side in zip(drawn["center"][batch], (height, width), strict=True)
        )
        return Blend(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom, right))

    def mixed_labels(self, labels: torch.Tensor, partners: torch.Tensor, weight: float, classes: int) -> Any:
        """Return the labels of a batch: float32 (n, classes), or `Pairs`.

        labels, partners: int64 (n,). weight: of `labels`.
        """
        if self.labels == "pairs":
            return Pairs(labels, partners, torch.full(labels.shape, weight, dtype=torch.float32, device=labels.device))
        everywhere = self.label_smoothing / classes
        own = 1 - self.label_smoothing
        soft = torch.full((len(labels), classes), everywhere, dtype=torch.float32, device=labels.device)
        soft.scatter_(1, partners[:, None], everywhere + own * (1 - weight))
        # Where both labels are the same class, it has all of the weight.
        of_labels = soft.new_full(labels.shape, everywhere + own * weight)
        of_labels.masked_fill_(labels == partners, everywhere + own)
        return soft.scatter_(1, labels[:, None], of_labels[:, None])
