"""What an op can read about the dataset, and helpers for its DALI nodes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types
from nvidia.dali.pipeline import do_not_convert

from ...shards import FreelightError, Statistics
from .decoding import Decoding

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Context:
    """image_size: side of the dataset's images, pixels; None if they are not squares of one size. crop_size: side of a
    crop, pixels. statistics: of the training set.
    """

    image_size: int | None
    crop_size: int
    statistics: Statistics | None

    @property
    def required_statistics(self) -> Statistics:
        """The statistics; raise `FreelightError` if there are none."""
        if self.statistics is None:
            raise FreelightError("the transform subtracts a mean or adds lighting noise: pass the dataset's statistics")
        return self.statistics


@dataclass(frozen=True, kw_only=True)
class GraphContext(Context):
    """device: where the pixels are. axes: their order in the batch. Window and `pixels` ops always have "HWC".
    decoding: how JPEGs are decoded.
    """

    device: Literal["cpu", "gpu"]
    axes: Literal["CHW", "HWC"]
    decoding: Decoding = field(default_factory=Decoding)

    def decoded(self, jpeg: Any) -> Any:
        """Decode pictures: from a node of JPEG bytes to a uint8 "HWC" node."""
        return fn.decoders.image(jpeg, **self.decoding.settings(self.device))

    def decoded_crop(self, jpeg: Any, **place: Any) -> Any:
        """Decode a square of each picture. place: of `fn.crop`."""
        if self.decoding.decode == "whole":
            return fn.crop(self.decoded(jpeg), **place)
        return fn.decoders.image_crop(jpeg, **place, **self.decoding.settings(self.device))

    def decoded_slice(self, jpeg: Any, start: Any, shape: Any) -> Any:
        """Decode a window of each picture. start, shape: top and left, height and width, pixels; nodes or lists."""
        if self.decoding.decode == "whole":
            return fn.slice(self.decoded(jpeg), start=start, shape=shape, axis_names="HW")
        settings = self.decoding.settings(self.device)
        return fn.decoders.image_slice(jpeg, start=start, shape=shape, axis_names="HW", **settings)

    def on_device(self, argument: Any) -> Any:
        """Move an argument from the CPU to the device of the pixels, for arithmetic with them."""
        return argument if self.device == "cpu" else argument.gpu()

    def as_argument(self, value: Any) -> Any:
        """Move a value of each image from the device to the CPU, where operators take their arguments."""
        return value if self.device == "cpu" else value.cpu()

    def constant(self, pixels: npt.NDArray[np.float32]) -> Any:
        """Turn float32 (H, W, 3) into a constant node, in the order of `axes`."""
        ordered = pixels if self.axes == "HWC" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return types.Constant(ordered, layout=self.axes, device=self.device)

    def crop_mirror_normalize(self, image: Any, **settings: Any) -> Any:
        """Apply DALI's fused kernel to a node of "HWC" pixels; the result is in the order of `axes`."""
        return fn.crop_mirror_normalize(image, **{"output_layout": self.axes, **settings})

    def flip(self, image: Any, flip: Any) -> Any:
        """Flip uint8 "HWC" pixels left to right where `flip` is 1; the result is in the order of `axes`."""
        if self.axes == "HWC":  # `fn.flip`, which cannot reorder axes, takes half the time
            return fn.flip(image, horizontal=flip)
        return self.crop_mirror_normalize(image, mirror=flip, dtype=types.UINT8)


def untranslated(function: Function) -> Function:
    """Keep DALI from translating a function that has no `if` with a node, in graphs with conditionals.

    DALI translates the source of every other function there, in about 30 ms each, and not every expression.
    """
    do_not_convert(function)
    return function
