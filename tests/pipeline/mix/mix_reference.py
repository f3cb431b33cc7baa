"""Mixup and CutMix in plain numpy, from the documented draws. Nothing here is Freelight's."""

import zlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK = 4096


class Drawn(NamedTuple):
    chance: float
    switch: float
    center: tuple[float, float]
    mixup: float
    cutmix: float


def draws_of(batch: int, *, seed: int, epoch: int, mixup_alpha: float | None, cutmix_alpha: float) -> Drawn:
    """Return the draws of one batch: row `batch % 4096` of a block of draws."""
    key = (zlib.crc32(b"mix"), 0, 0, 0, batch // BLOCK)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch), spawn_key=key)))
    chance, switch, center = generator.random(BLOCK), generator.random(BLOCK), generator.random((BLOCK, 2))
    mixup = np.ones(BLOCK) if mixup_alpha is None else generator.beta(mixup_alpha, mixup_alpha, BLOCK)
    cutmix = generator.beta(cutmix_alpha, cutmix_alpha, BLOCK)
    row = batch % BLOCK
    return Drawn(chance[row], switch[row], tuple(center[row]), mixup[row], cutmix[row])


def box_of(share: float, center: tuple[float, float], height: int, width: int) -> tuple[int, int, int, int]:
    """Return torchvision's box, top, left, bottom, right: `share` is what the image keeps before clipping."""
    row, column = int(center[0] * height), int(center[1] * width)
    root = 0.5 * (1 - share) ** 0.5
    half_height, half_width = int(root * height), int(root * width)
    top, bottom = max(row - half_height, 0), min(row + half_height, height)
    left, right = max(column - half_width, 0), min(column + half_width, width)
    return top, left, bottom, right


def mix(
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    drawn: Drawn,
    *,
    classes: int,
    prob: float,
    switch_prob: float,
    smoothing: float,
    left_out: tuple[int, ...] = (),
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Mix a whole batch, (n, 3, height, width), by torchvision's law. left_out: places whose image is no partner."""
    places = np.arange(len(images))
    partner = np.roll(places, 1)
    partner = np.where(np.isin(partner, left_out), places, partner)
    others, height, width = images[partner], *images.shape[2:]
    mixed, weight = images.astype(np.float64), 1.0
    if drawn.chance < prob:
        if drawn.switch < switch_prob:
            top, left, bottom, right = box_of(drawn.cutmix, drawn.center, height, width)
            mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
            weight = 1 - (bottom - top) * (right - left) / (height * width)
        else:
            weight = drawn.mixup
            mixed = weight * images.astype(np.float64) + (1 - weight) * others
    smooth = np.eye(classes) * (1 - smoothing) + smoothing / classes
    return mixed, weight * smooth[labels] + (1 - weight) * smooth[labels[partner]]
