"""What happens to an image between its shard and the network: crop, flip, mean, lighting, scale, and other ops.

A transform composes ops; `graph.py` builds their DALI nodes, `Transform.apply` runs their numpy references.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from ..shards import FreelightError, Statistics
from ..shards.base import check_fields
from .choices import Choices, OpTable
from .describing import StepText, numbered, settings_of, short
from .draws import EpochDraws
from .ops import RGB, Context, Crop, DType, Feed, Flip, Lighting, Mean, Normalize, Op, RandomCrop, Sizes, Stage, side_of
from .ops.normalize import as_rgb, check_units
from .ops.subtract_mean import SubtractMean

FLIP = "flip"
"""Title of that step."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Transform:
    """A recipe's preprocessing of one image; all values in 0-255 units, RGB.

    crop: `RandomCrop`, `RandomResizedCrop`, `CenterCrop` or `TenCrop`. flip_probability: of random crops. mean:
    `image`, the training set's mean image with each image's own crop and flip; `center window`, its central window for
    every crop (the 2012 code); `channel`, the channel means; three RGB numbers; or `none`. lighting: noise on random
    crops. std: divisors of the channels, after mean and lighting. Lists, arrays and tensors of three numbers are stored
    as tuples. dtype: also a torch dtype; `uint8` allows no mean, lighting or std. ops: more augmentations of every
    view, applied in this order within each stage: see `Op`.
    """

    crop: Crop = field(default_factory=RandomCrop)
    flip_probability: float = 0.5
    mean: Mean | RGB = "image"
    lighting: Lighting = field(default_factory=Lighting)
    std: RGB | None = None
    dtype: DType = "float32"
    ops: tuple[Op, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "crop", "flip_probability", "lighting")
        # Equal settings have equal reprs, which loader states compare.
        dtype: Any = self.dtype
        if isinstance(dtype, torch.dtype):
            object.__setattr__(self, "dtype", str(dtype).removeprefix("torch."))
        if not isinstance(self.mean, str):
            object.__setattr__(self, "mean", as_rgb("mean", self.mean))
        if self.std is not None:
            object.__setattr__(self, "std", as_rgb("std", self.std))
        check_units(None if isinstance(self.mean, str) else self.mean, self.std)
        mean = SubtractMean(mean=self.mean)
        if self.dtype not in get_args(DType):
            raise FreelightError(f"transform: `dtype` {self.dtype!r} is not one of {', '.join(get_args(DType))}")
        Flip(probability=self.flip_probability)
        if self.dtype == "uint8" and (self.mean != "none" or self.shifts_light or self.std):
            raise FreelightError("transform: uint8 allows only crop and flip; set mean='none', lighting off and no std")
        if mean.is_image and self.crop.resizes:
            raise FreelightError("transform: a mean image does not fit resized crops; set mean='channel', or numbers")
        if not isinstance(self.ops, tuple | list):
            raise FreelightError(f"transform: `ops` (={self.ops!r}) must be a tuple of ops")
        for op in self.ops:
            self._check_op(op)

    def _check_op(self, op: Any) -> None:
        kind = type(op).__name__
        if not isinstance(op, Op):
            raise FreelightError(f"transform: `ops` has a {kind}, which does not derive from freelight.pipeline.Op")
        if not getattr(getattr(op, "__dataclass_params__", None), "frozen", False):
            raise FreelightError(f"transform: op {kind} must be a frozen dataclass: its repr is part of loader states")
        if getattr(op, "stage", None) not in get_args(Stage) or not getattr(op, "name", ""):
            raise FreelightError(
                f"transform: op {kind} must have a `name`, and a `stage` of {', '.join(get_args(Stage))}"
            )
        if op.stage == "normalized" and self.dtype == "uint8":
            raise FreelightError(f"transform: op {op.name!r} changes normalized values; uint8 has none, set float32")

    def __repr__(self) -> str:
        """Return the fields as text. Loader states hold it; without `ops` it equals that of version 0.1."""
        shown = [spec.name for spec in dataclasses.fields(self) if spec.name != "ops" or self.ops]
        return f"Transform({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __str__(self) -> str:
        """Return the steps, one per line, in the order in which they are applied."""
        return numbered(self.steps())

    def steps(self) -> Iterator[StepText]:
        """Yield each step's title and settings, in the order in which they are applied.

        Crop, ops of pixels, flip; mean, lighting and std as one; ops of normalized values, and the cast to `dtype`.
        """
        yield type(self.crop).__name__, settings_of(self.crop)
        yield from ((type(op).__name__, settings_of(op)) for _, op in self.ops_at("pixels"))
        if self.is_random and self.flip_probability > 0:
            yield FLIP, (f"probability={self.flip_probability:g}",)
        parts = [] if self.mean == "none" else [f"mean={short(self.mean)}"]
        if self.shifts_light:
            parts += [f"lighting={self.lighting.mode}", f"strength={self.lighting.strength:g}"]
        if self.divisors is not None:
            parts += [f"std={short(self.divisors)}"]
        if parts:
            yield "normalize", tuple(parts)
        yield from ((type(op).__name__, settings_of(op)) for _, op in self.ops_at("normalized"))
        yield "cast", (self.dtype,)

    @property
    def is_random(self) -> bool:
        """Whether each epoch has new crops, flips and lighting noise."""
        return self.crop.is_random

    @property
    def views(self) -> int:
        """Number of views per image."""
        return self.crop.views

    @property
    def shifts_light(self) -> bool:
        """Whether an image's lighting is changed."""
        return self.is_random and self.lighting.mode != "off"

    @property
    def flip(self) -> Flip:
        """The flip of random crops."""
        return Flip(probability=self.flip_probability, shared_by=self.crop.flips_shared_by)

    @property
    def divisors(self) -> RGB | None:
        """Divisors of the channels, applied last: std times the lighting's divisor, if there is lighting noise."""
        divisor = self.lighting.divisor if self.shifts_light else 1.0
        if self.std is None and divisor == 1:
            return None
        red, green, blue = self.std or (1.0, 1.0, 1.0)
        return red * divisor, green * divisor, blue * divisor

    @property
    def normalize(self) -> Normalize:
        """Mean, lighting and scale."""
        return Normalize(mean=SubtractMean(mean=self.mean), divisors=self.divisors, crop=self.crop)

    @property
    def needs_statistics(self) -> bool:
        """Whether the training set's mean or eigenbasis is used."""
        by_ops = any(op.needs_statistics for op in self.ops)
        return SubtractMean(mean=self.mean).needs_statistics or self.shifts_light or by_ops

    def context(self, image_size: int | None, statistics: Statistics | None) -> Context:
        """Return what the ops can read about the dataset."""
        return Context(image_size=image_size, crop_size=self.crop.size, statistics=statistics)

    def check(self, sizes: Sizes | None, statistics: Statistics | None) -> None:
        """Raise `FreelightError` if the transform does not fit a dataset's images or statistics.

        sizes: None leaves out the check that the crop fits images of several sizes.
        """
        if sizes is not None:
            self.crop.check_fits(sizes)
        context = self.context(None if sizes is None else side_of(sizes), statistics)
        if self.needs_statistics:
            assert context.required_statistics
        SubtractMean(mean=self.mean).check(context)

    def ops_at(self, stage: Stage) -> Iterator[tuple[int, Op]]:
        """Yield the ops of a stage, with their indices in `ops`."""
        return ((place, op) for place, op in enumerate(self.ops) if op.stage == stage)

    def windows(self, draws: EpochDraws, sizes: Sizes) -> npt.NDArray[np.int32]:
        """Return the random windows of all samples: (n, 4) top, left, height, width, pixels.

        sizes: of all samples: the side of squares, or (n, 2) heights and widths.
        """
        return self.crop.windows(draws, sizes)

    def flips(self, draws: EpochDraws) -> npt.NDArray[np.int32]:
        """Return whether each sample's random crop is flipped: (n,), 0 or 1."""
        return self.flip.flips(draws)

    def feeds(self) -> dict[str, Feed]:
        """Return the type of each graph input besides the JPEGs, in order."""
        feeds: dict[str, Feed] = {}
        for part in (self.crop, *self._light_parts()):
            feeds.update(part.feeds())
        for place, op in enumerate(self.ops):
            for view in range(self.views):
                feeds.update({fed_name(op, place, view, name): feed for name, feed in op.feeds().items()})
        return feeds

    def choose(self, draws: EpochDraws, sizes: Sizes, statistics: Statistics | None) -> Choices:
        """Turn an epoch's draws into graph inputs: those of all samples for each of `feeds`, in that order.

        sizes: of all samples: the side of squares, or (n, 2) heights and widths.
        """
        context = self.context(side_of(sizes), statistics)
        chosen = self.crop.choose(draws, sizes)
        for part in self._light_parts():
            chosen.update(part.choose(draws, context))
        ops = []
        for place, op in enumerate(self.ops):
            for view in range(self.views):
                names = [fed_name(op, place, view, argument) for argument in op.feeds()]
                ops.append(OpTable(op, names, draws.stream(op.name, place, view), len(draws.order), context))
        return Choices({name: chosen[name] for name in self.feeds() if name in chosen}, ops)

    def _light_parts(self) -> list[Flip | Lighting]:
        """Return the flip and the lighting of random crops."""
        if not self.is_random:
            return []
        return [self.flip, *([self.lighting] if self.shifts_light else [])]

    def apply(
        self,
        image: npt.NDArray[np.uint8],
        draws: EpochDraws,
        sample: int,
        statistics: Statistics | None,
        sizes: Sizes | None = None,
    ) -> npt.NDArray[Any]:
        """Transform one decoded image, uint8 (H, W, 3), in numpy: the reference of the DALI graph.

        sizes: of all samples, as for `choose`; by default all are squares like this one. Returns (3, size, size), or
        (10, 3, size, size) for ten views; uint8 or float64.
        """
        if sizes is None:
            if image.shape[0] != image.shape[1]:
                raise FreelightError("transform: an image that is no square needs the `sizes` of all samples")
            sizes = image.shape[0]
        context = self.context(side_of(sizes), statistics)
        light = None
        if self.shifts_light:
            light = self.lighting.shifts(draws.lighting[[sample]], context.required_statistics)[0]
        views = []
        for view, (pixels, window) in enumerate(self.crop.reference(image, draws, sample, sizes)):
            if self.is_random:
                window = window._replace(flip=bool(self.flips(draws)[sample]))
            values: npt.NDArray[Any] = self._apply_ops("pixels", pixels, draws, sample, view, context)
            values = values[:, ::-1] if window.flip else values
            if self.dtype != "uint8":
                values = self.normalize.reference(values, window, light, context)
                values = self._apply_ops("normalized", values, draws, sample, view, context)
            views.append(values.transpose(2, 0, 1))
        return np.stack(views) if self.views > 1 else views[0]

    def _apply_ops(
        self, stage: Stage, image: npt.NDArray[Any], draws: EpochDraws, sample: int, view: int, context: Context
    ) -> npt.NDArray[Any]:
        for place, op in self.ops_at(stage):
            chosen = op.choose(draws.stream(op.name, place, view).row(sample, op.draw), context)
            image = op.reference(image, {name: values[0] for name, values in chosen.items()}, context)
        return image


def fed_name(op: Op, place: int, view: int, argument: str) -> str:
    """Return the graph's name for an op's argument: unique in a transform."""
    return f"{op.name}[{place}].{argument}[{view}]"
