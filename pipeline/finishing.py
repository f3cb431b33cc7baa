"""The end of a transform in torch: mean, lighting and scale of crops that DALI's graph returns as uint8.

Ranks that exchange their crops then send a quarter of the bytes. On a GPU one mean image serves all samples, where DALI
keeps a copy for each sample of a batch: 100 MB for 128 images of 256 pixels. The values are those of the graph, to the
bit: the same float32 operations in the same order.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from ..shards import Statistics
from .graph import Layout
from .ops import Arrays, Lighting, Window
from .ops.fixed_views import FixedViews
from .ops.placed_crop import PlacedCrop
from .transfer import to_device
from .transform import Transform

PLACE = ("top", "left", "flip")


def ends_in_torch(transform: Transform, device: torch.device, *, is_exchanged: bool) -> bool:
    """Return whether torch computes the end of a transform, which follows the flip.

    is_exchanged: whether ranks exchange the batches.
    """
    if transform.dtype == "uint8" or any(transform.ops_at("normalized")):
        return False
    if transform.normalize.mean.is_image:
        # DALI rounds to float16 in another way: a group of ranks on the CPU would not have a single rank's values.
        return device.type == "cuda" or (is_exchanged and transform.dtype != "float16")
    # So does its kernel that subtracts channel means and divides by a std at once.
    return is_exchanged and transform.dtype != "float16" and transform.divisors is None


class Finishing:
    """Computes the end of `transform`, which `ends_in_torch`. Arguments as of `define_pipeline`.

    before: the transform without its end; its graph returns uint8. names: of the choices that `finish` needs.
    """

    def __init__(
        self,
        transform: Transform,
        *,
        image_size: int | None,
        statistics: Statistics | None,
        layout: Layout,
        device: torch.device,
    ) -> None:
        self.before = dataclasses.replace(
            transform, mean="none", lighting=Lighting(mode="off"), std=None, dtype="uint8"
        )
        self._dtype: torch.dtype = getattr(torch, transform.dtype)
        self._device = device
        self._size = transform.crop.size
        self._side = image_size or 0
        self._crop = transform.crop
        self._channels = (3, 1, 1) if layout == "NCHW" else (1, 1, 3)
        mean, context = transform.normalize.mean, transform.context(image_size, statistics)
        self._lights_first = mean.mean == "center window"
        self._follows_crop = transform.is_random and mean.mean == "image"
        self.names = (*(PLACE if self._follows_crop else ()), *(("light",) if transform.shifts_light else ()))
        if self._follows_crop:
            image = context.required_statistics.require_mean_image()
            pixels = np.stack([image, image[:, ::-1]])
        elif isinstance(transform.crop, FixedViews) and mean.is_image:
            windows = transform.crop.fixed_windows(self._side)
            pixels = np.stack([mean.pixels(transform.crop, window, context) for window in windows])
            pixels = pixels if transform.views > 1 else pixels[0]
        else:
            pixels = mean.pixels(transform.crop, Window(0, 0, False), context)
        if layout == "NCHW":
            pixels = np.moveaxis(pixels, -1, -3)
        # Copied before this returns: `finish` may run on another stream.
        self._mean = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
        if self._follows_crop:
            self._mean = _windows(self._mean, self._size, layout)
        self._factors = None
        if transform.divisors is not None:
            factors = np.array([1 / value for value in transform.divisors], np.float32)
            self._factors = torch.from_numpy(factors).to(device).view(self._channels)

    def finish(self, images: torch.Tensor, chosen: Arrays) -> torch.Tensor:
        """Return the normalized images of uint8 crops. chosen: the rows of `names` that belong to them."""
        values = self.one_by_one(images, chosen) if images.device.type == "cpu" else self.at_once(images, chosen)
        return values.to(self._dtype)

    def at_once(self, images: torch.Tensor, chosen: Arrays) -> torch.Tensor:
        """Return float32 images: few operations, for a GPU."""
        mean = self._mean[self._indices(chosen).unbind()] if self._follows_crop else self._mean
        if "light" in chosen:
            light = to_device(chosen["light"], self._device).view(-1, *self._channels)
            if self._lights_first:
                images = images + light
            else:
                mean = mean.sub_(light) if self._follows_crop else mean - light
        values = images - mean
        return values if self._factors is None else values.mul_(self._factors)

    def one_by_one(self, images: torch.Tensor, chosen: Arrays) -> torch.Tensor:
        """Return float32 images, in the cache of a CPU. By numpy: torch would share each image among its threads."""
        values = torch.empty(images.shape, dtype=torch.float32)
        indices = zip(*self._indices(chosen).tolist(), strict=True) if self._follows_crop else itertools.repeat(())
        lights = chosen["light"].reshape(-1, *self._channels) if "light" in chosen else itertools.repeat(None)
        means, factors = self._mean.numpy(), None if self._factors is None else self._factors.numpy()
        for value, image, index, light in zip(values.numpy(), images.numpy(), indices, lights, strict=False):
            mean = means[index]
            if light is None:
                np.subtract(image, mean, out=value)
            elif self._lights_first:
                np.add(image, light, out=value)
                value -= mean
            else:
                np.subtract(image, mean - light, out=value)
            if factors is not None:
                value *= factors
        return values

    def _indices(self, chosen: Arrays) -> torch.Tensor:
        """Return flip, top and left of each crop in the mean image, or in its reflection if it is flipped: (3, n)."""
        assert isinstance(self._crop, PlacedCrop)
        offsets = self._crop.chosen_offsets(chosen, np.array([[self._side, self._side]], np.int32)).astype(np.int64)
        flip, top, left = chosen["flip"].astype(np.int64), offsets[:, 0], offsets[:, 1]
        left = np.where(flip == 1, self._side - self._size - left, left)
        return to_device(np.stack([flip, top, left]), self._device)


def _windows(images: torch.Tensor, size: int, layout: Layout) -> torch.Tensor:
    """Return all square windows of two images as a view: (2, tops, lefts, ...), the last three axes as in `layout`."""
    rows = 2 if layout == "NCHW" else 1
    windows = images.unfold(rows, size, 1).unfold(rows + 1, size, 1)  # the window's axes come last
    return windows.movedim(1, 3) if layout == "NCHW" else windows.movedim(3, 5)


def made_ahead(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield `batches`, each made on a CUDA stream of its own while the one before is in use.

    A batch has a tensor, or a tuple of tensors, `images` in memory of torch. It is ready on the stream that is current
    when it is requested.
    """
    own = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    iterator, made = iter(batches), deque[tuple[Any, torch.cuda.Event]]()
    while True:
        with torch.cuda.stream(own):
            batch = next(iterator, None)
            ready = own.record_event()
        if made:
            yield _handed_over(*made.popleft(), torch.cuda.current_stream(device))
        if batch is None:
            return
        made.append((batch, ready))


def _handed_over(batch: Any, ready: torch.cuda.Event, stream: torch.cuda.Stream) -> Any:
    """Return a batch for use on `stream`."""
    stream.wait_event(ready)
    for image in batch.images if isinstance(batch.images, tuple) else (batch.images,):
        image.record_stream(stream)  # torch frees its memory only when that stream is done with it
    return batch
