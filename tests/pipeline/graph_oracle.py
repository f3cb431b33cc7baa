"""Every kind of transform, the pictures for it, and its oracle in plain numpy and Pillow."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nvidia.dali import Pipeline
from PIL import Image

from freelight.pipeline import (
    Batch,
    CenterCrop,
    Crop,
    EpochDraws,
    Layout,
    Lighting,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    define_pipeline,
)
from freelight.shards import (
    Dataset,
    Statistics,
)

SEED, EPOCH, BATCH = 21, 2, 8
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")

SMALL, FULL = 56, 224
"""Sizes of crops, pixels, from images of 64 and 256 pixels."""

# Offsets (top, left); those of 224 in 256 pixels as docs/design/paper.md section 2 lists them.
LAST = {SMALL: 8, FULL: 32}
CENTRES = {SMALL: (4, 4), FULL: (16, 16)}
FIVES = {
    SMALL: ((0, 0), (0, 8), CENTRES[SMALL], (8, 0), (8, 8)),
    FULL: ((0, 0), (0, 32), CENTRES[FULL], (32, 0), (32, 32)),
}

CROPS: dict[str, Callable[[int], Crop]] = {
    "random": lambda size: RandomCrop(size=size),
    "shared": lambda size: RandomCrop(size=size, shared_by=32),
    "still": lambda size: RandomCrop(size=size, centered=True),
    "resized": lambda size: RandomResizedCrop(size=size),
    "center": lambda size: CenterCrop(size=size),
    "ten": lambda size: TenCrop(size=size),
}
MEANS = {"image": "image", "window": "center window", "channel": "channel", "given": (124.0, 116.5, 103.5), "0": "none"}
LIGHTS = {
    "eigenvalue": Lighting(mode="eigenvalue"),
    "std": Lighting(mode="std"),
    "divided": Lighting(mode="std", divisor=1.1),
    "off": Lighting(mode="off"),
    "fixed": Lighting(),  # the default, which fixed views ignore
}
STD = (58.4, 57.1, 57.4)

Words = tuple[str, str, str, str, str]
"""A transform's crop, dtype, mean, lighting, and `scaled` or `plain`."""


def transform_of(words: Words, size: int) -> Transform:
    crop, dtype, mean, light, scale = words
    return Transform(
        crop=CROPS[crop](size),
        mean=MEANS[mean],
        lighting=LIGHTS[light],
        std=STD if scale == "scaled" else None,
        dtype=dtype,  # type: ignore[arg-type]  # one of the three
    )


def every_transform() -> Iterator[Words]:
    """Return every kind of transform."""
    for crop in CROPS:
        yield crop, "uint8", "0", "off", "plain"
        lights = ["fixed"] if crop in ("center", "ten") else ["eigenvalue", "std", "divided", "off"]
        means = [mean for mean in MEANS if crop != "resized" or mean not in ("image", "window")]
        for dtype, mean, light, scale in itertools.product(("float32", "float16"), means, lights, ("plain", "scaled")):
            yield crop, dtype, mean, light, scale


def in_pairs(kinds: Iterable[Words]) -> list[Words]:
    """Choose some of `kinds` so that every pair of values that occurs together in `kinds` also occurs in the choice.

    Pairs of random crops and of fixed views are counted separately, because their graphs differ.
    """
    pairs = {
        words: {(words[3] == "fixed", *pair) for pair in itertools.combinations(enumerate(words), 2)} for words in kinds
    }
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        best = max(pairs, key=lambda words: len(pairs[words] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return chosen


# Every branch of the graph and every pair of settings on small images; each crop once as in the recipes.
FULL_SIZE: list[Words] = [
    ("random", "float32", "image", "eigenvalue", "plain"),
    ("shared", "float32", "window", "divided", "plain"),
    ("still", "float32", "channel", "off", "scaled"),
    ("resized", "float16", "given", "std", "scaled"),
    ("center", "uint8", "0", "off", "plain"),
    ("ten", "float32", "image", "fixed", "plain"),
]
TRANSFORMS = {
    "-".join((*words, str(size))): transform_of(words, size)
    for size, kinds in ((SMALL, in_pairs(every_transform())), (FULL, FULL_SIZE))
    for words in kinds
}


ON_GPU = [
    pytest.param(name, layout, marks=[pytest.mark.slow] if place % 6 and "224" not in name else [])
    for place, (layout, name) in enumerate(itertools.product(LAYOUTS, TRANSFORMS))
]
"""Each transform in each layout. The first hour on a card begins with those of full size and a sixth of the others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """A dataset, its statistics, and its train split decoded by Pillow."""

    dataset: Dataset
    statistics: Statistics
    decoded: npt.NDArray[np.uint8]


def resized(picture: npt.NDArray[np.uint8], window: tuple[int, ...], size: int) -> npt.NDArray[np.uint8]:
    """Cut and then scale, as torchvision's `resized_crop` does with a Pillow picture."""
    top, left, height, width = window
    piece = Image.fromarray(picture).crop((left, top, left + width, top + height))
    return np.asarray(piece.resize((size, size), Image.Resampling.BILINEAR))


def oracle(
    transform: Transform, picture: npt.NDArray[np.uint8], draws: EpochDraws, sample: int, statistics: Statistics
) -> npt.NDArray[Any]:
    """Transform one decoded picture as the paper says, in the simplest code: float64 or uint8, (views, size, size,
    3)."""
    crop, size = transform.crop, transform.crop.size
    centre = CENTRES[size]
    drawn = sample // 32 * 32 if isinstance(crop, RandomCrop) and crop.shared_by == 32 else sample
    flip = float(draws.flip[drawn]) < 0.5
    if isinstance(crop, RandomResizedCrop):
        picture = resized(picture, tuple(transform.windows(draws, len(picture))[sample].tolist()), size)
        windows = [(0, 0, flip)]
    elif isinstance(crop, RandomCrop) and crop.centered:
        windows = [(*centre, flip)]
    elif isinstance(crop, RandomCrop):
        top, left = (math.floor(float(place) * (LAST[size] + 1)) for place in draws.crop[drawn])
        windows = [(top, left, flip)]
    elif isinstance(crop, CenterCrop):
        windows = [(*centre, False)]
    else:
        windows = [(*place, flip) for flip in (False, True) for place in FIVES[size]]
    values: npt.NDArray[Any] = picture
    if transform.dtype != "uint8":
        values = picture.astype(np.float64)
        if transform.mean == "image":
            values = values - statistics.mean_image.astype(np.float64)
        elif transform.mean == "channel":
            values = values - statistics.mean
        elif not isinstance(transform.mean, str):
            values = values - np.array(transform.mean)
        if isinstance(crop, RandomCrop | RandomResizedCrop) and transform.lighting.mode != "off":
            for axis in range(3):
                spread = float(statistics.eigenvalues[axis])
                spread = math.sqrt(spread) if transform.lighting.mode == "std" else spread / 255
                values = values + 0.1 * float(draws.lighting[sample, axis]) * spread * statistics.eigenvectors[:, axis]
    views = []
    for top, left, flip in windows:
        view = values[top : top + size, left : left + size]
        view = np.flip(view, axis=1) if flip else view
        if transform.mean == "center window":
            middle = statistics.mean_image[centre[0] : centre[0] + size, centre[1] : centre[1] + size]
            view = view - middle.astype(np.float64)
        view = view if transform.std is None else view / np.array(STD)
        divided = isinstance(crop, RandomCrop | RandomResizedCrop) and transform.lighting.mode != "off"
        views.append(view / transform.lighting.divisor if divided and transform.dtype != "uint8" else view)
    return np.stack(views)


def assert_equal(got: npt.NDArray[Any], expected: npt.NDArray[Any], dtype: str, *, levels: float = 0.0) -> None:
    """Require equality for uint8, 1e-3 for float32, its rounding for float16; plus `levels`, if given."""
    assert got.dtype == dtype
    assert got.shape == expected.shape
    tolerance: Any = levels + (0 if dtype == "uint8" else 1e-3)
    if dtype == "float16":
        tolerance += np.spacing((np.abs(expected) + levels).astype(np.float16)).astype(np.float64) / 2
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= tolerance).all(), f"off by up to {error.max()}"


def first_batch(sized: Pictures, transform: Transform, **settings: Any) -> Batch:
    size = 2 if transform.views == 10 else BATCH
    settings = {"transform": transform, "statistics": sized.statistics, "seed": SEED, **settings}
    loader = Loader(sized.dataset, "train", batch_size=size, extras=("samples",), **settings)
    loader.set_epoch(EPOCH)
    return next(iter(loader))


def allowed_levels(transform: Transform) -> float:
    """Return how far DALI's resampling may be off: one grey level. It rounds once, Pillow after each axis."""
    if not isinstance(transform.crop, RandomResizedCrop):
        return 0
    return 1 if transform.std is None else 1 / min(STD)


def define(transform: Transform, statistics: Statistics | None, **changes: Any) -> Pipeline:
    """Define the graph of a transform, for a GPU unless `device_id` is None."""
    image_size = 64 if transform.crop.size == SMALL else 256
    settings = {"image_size": image_size, "batch_size": 4, "num_threads": 1, "prefetch": 2, "device_id": 0, **changes}
    return define_pipeline(transform, source=lambda: [], statistics=statistics, **settings)  # noqa: PIE807
