"""Blend the images of a batch with those before them, in place."""

from collections.abc import Iterator, Sequence

import torch

from .mix import Blend

SERIAL = 32_000
"""Values per operation on the CPU. From 32,768 on, torch shares one among threads, which takes longer than the work."""


def blend_with_previous(
    images: torch.Tensor, blend: Blend, *, first: int, alone: Sequence[int], height_axis: int
) -> None:
    """Blend each image from `first` (0 or 1) on with the one before it in the batch, and image 0 with the last.

    images: (n, …), changed in place. alone: indices of images that stay as they are. height_axis: of an image's rows;
    the axis of columns follows.
    """
    region = images
    if blend.box is not None:
        top, left, bottom, right = blend.box
        region = images.narrow(height_axis, top, bottom - top).narrow(height_axis + 1, left, right - left)
    if blend.weight == 1 or not region.numel():
        return
    pairs = _whole if images.is_cuda else _in_pieces
    for own, previous in pairs(region, first, alone, height_axis):
        if blend.box is None:
            own.lerp_(previous, 1 - blend.weight)
        else:
            own.copy_(previous)


def _whole(
    region: torch.Tensor, first: int, alone: Sequence[int], height_axis: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield all images, and a copy of those before them: few operations, for a GPU."""
    previous = region.roll(1, 0)
    for place in alone:
        previous[place] = region[place]
    yield region[first:], previous[first:]


def _in_pieces(
    region: torch.Tensor, first: int, alone: Sequence[int], height_axis: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield pieces of one image, and of the one before it, from the last image to the first: for the cache of a CPU."""
    of_row = region[0].numel() // region.shape[height_axis]
    for piece in torch.split(region, max(1, SERIAL // of_row), height_axis):
        images = piece.unbind()
        last = images[-1].clone()
        for place in range(len(images) - 1, -1, -1):
            if place >= first and place not in alone:
                yield images[place], images[place - 1] if place else last
