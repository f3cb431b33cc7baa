"""A transform taken apart: what a loader gives if it ends after the crop, after each op, after the flip, and so on."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...shards import Split, Statistics
from ..choices import Choices
from ..decoder import Decoder
from ..draws import EpochDraws
from ..ops import Arrays, Decoding, GraphContext, Lighting, Op, side_of
from ..reading import SampleReader
from ..transform import Transform


@dataclass(frozen=True, kw_only=True)
class _Later(Op):
    """Stands in the place of an op that comes later: the place is part of the key of the draws of those behind it."""

    name = "later"
    stage = "pixels"

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        return image

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Any) -> npt.NDArray[Any]:
        return image


@dataclass(frozen=True)
class Step:
    """title: what is done last. settings: of it. transform: all up to it. place: of the op in `Transform.ops`, if it is
    one.
    """

    title: str
    settings: tuple[str, ...]
    transform: Transform
    place: int | None = None


def take_apart(transform: Transform) -> Iterator[Step]:
    """Yield the steps of a transform in order: crop, ops of pixels, flip, mean with lighting and std, and other ops."""
    ops: list[Op] = [_Later()] * len(transform.ops)
    texts = transform.steps()
    bare = dataclasses.replace(
        transform,
        flip_probability=0.0,
        mean="none",
        lighting=Lighting(mode="off"),
        std=None,
        dtype="uint8",
        ops=tuple(ops),
    )
    yield Step(*next(texts), bare)
    for place, op in transform.ops_at("pixels"):
        ops[place] = op
        bare = dataclasses.replace(bare, ops=tuple(ops))
        yield Step(*next(texts), bare, place)
    if transform.is_random and transform.flip_probability > 0:
        bare = dataclasses.replace(bare, flip_probability=transform.flip_probability)
        yield Step(*next(texts), bare)
    if transform.dtype == "uint8":
        return
    whole = dataclasses.replace(transform, dtype="float32", ops=tuple(ops))
    if transform.mean != "none" or transform.shifts_light or transform.divisors is not None:
        yield Step(*next(texts), whole)
    for place, op in transform.ops_at("normalized"):
        ops[place] = op
        whole = dataclasses.replace(whole, ops=tuple(ops))
        yield Step(*next(texts), whole, place)


class StepRenderer:
    """Renders the steps of a transform for some samples with the loader's own decoder: the pixels are the loader's.

    all_draws: the occurrences to render.
    """

    def __init__(
        self,
        transform: Transform,
        split: Split,
        statistics: Statistics | None,
        samples: npt.NDArray[np.int32],
        all_draws: Sequence[EpochDraws],
    ) -> None:
        self._split = split
        self._statistics = statistics
        self._samples = samples
        self.rows = [transform.choose(draws, split.sizes, statistics).take(samples) for draws in all_draws]
        """By occurrence, what `transform` does to each of the samples."""

    def render(self, step: Step) -> npt.NDArray[np.uint8]:
        """Return the images after a step, as of `shown`: (occurrences, samples, views, size, size, 3)."""
        transform = step.transform
        decoder = Decoder(
            transform,
            SampleReader(self._split),
            image_size=side_of(self._split.sizes),
            statistics=self._statistics,
            share_size=len(self._samples),
            num_threads=2,
            prefetch=0,
            device=torch.device("cpu"),
            layout="NHWC",
            decoding=Decoding(),
        )
        found = []
        with ThreadPoolExecutor(1) as thread:
            for rows in self.rows:
                decoder.start(thread, [self._samples], [self._choices(transform, rows)])
                found += [batch.images.numpy().copy() for batch in decoder.decode([self._samples])]
                decoder.end_epoch()
        decoder.stop()
        self._split.close()
        size = transform.crop.size
        images = np.stack(found).reshape(len(found), len(self._samples), -1, size, size, 3)
        return shown(images, transform, self._statistics)

    def _choices(self, transform: Transform, rows: Arrays) -> Choices:
        """Return tables over all samples, filled for those that are rendered."""
        tables = {}
        for name in transform.feeds():
            tables[name] = np.zeros((len(self._split), *rows[name].shape[1:]), rows[name].dtype)
            if name != "flip" or transform.flip_probability > 0:
                tables[name][self._samples] = rows[name]
        return Choices(tables)


def shown(images: npt.NDArray[Any], transform: Transform, statistics: Statistics | None) -> npt.NDArray[np.uint8]:
    """Return a transform's images (..., size, size, 3) for the eye: uint8, rounded and clipped.

    Mean and std are undone, but a mean image only by its channel means.
    """
    if transform.dtype == "uint8":
        return images.astype(np.uint8)
    mean: Any = transform.mean
    if isinstance(mean, str):
        mean = 0 if mean == "none" or statistics is None else statistics.mean
    values: npt.NDArray[np.uint8] = (
        (images * np.array(transform.divisors or 1) + mean).round().clip(0, 255).astype(np.uint8)
    )
    return values
