"""RandomErasing: the graph against the reference, the erased areas, and equal pixels on any number of ranks."""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from freelight.pipeline import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    Layout,
    Lighting,
    Loader,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Solarize,
    Transform,
    draw_epoch,
)
from freelight.pipeline.ops.random_erasing import noise_table
from freelight.shards import Dataset, FreelightError

ERASING = RandomErasing(p=0.7, value=(1.0, -2.0, 300.0))
NOISE = RandomErasing(p=0.7, value="random", count=3)
TRANSFORM = Transform(
    crop=RandomCrop(size=48),
    mean=(120.0, 110.0, 100.0),
    lighting=Lighting(mode="off"),
    ops=(ColorJitter(p=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1), ERASING),
)


EVERY = dataclasses.replace(
    TRANSFORM,
    crop=RandomResizedCrop(size=48),
    ops=(
        ColorJitter(p=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
        GaussianBlur(),
        Grayscale(p=0.2),
        Solarize(),
        NOISE,
    ),
)


def loader_of(dataset: Dataset, **settings: Any) -> Loader:
    return Loader(dataset, "train", **{"transform": TRANSFORM, "seed": 3, "extras": ("samples",), **settings})


def images_of(*loaders: Loader) -> dict[int, bytes]:
    """Return the pixels of the rest of the loaders' epoch, by sample."""
    return {
        sample: image.tobytes()
        for loader in loaders
        for batch in loader
        for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True)
    }


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_graph_is_the_reference(layout: Layout, dataset: Dataset, decoded: dict[str, Any]) -> None:
    """Rectangles are equal to the pixel; colours within the rounding of four steps."""
    draws = draw_epoch(60, seed=3, epoch=0)
    batch = next(iter(loader_of(dataset, batch_size=60, layout=layout)))
    erased = 0
    for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True):
        expected = TRANSFORM.apply(decoded["train"][sample], draws, sample, None)
        image = np.moveaxis(image, -1, 0) if layout == "NHWC" else image
        assert np.array_equal(image[2] == 300, expected[2] == 300)
        errors = np.abs(image - expected)
        assert errors.max() <= 2
        assert errors.mean() < 0.1
        erased += bool((image[2] == 300).any())
    assert 30 <= erased <= 52


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_graphs_noise_is_the_references(layout: Layout, dataset: Dataset, decoded: dict[str, Any]) -> None:
    """To the bit, in up to three rectangles; and each erased image has noise of its own."""
    transform = dataclasses.replace(TRANSFORM, ops=(NOISE,))
    draws = draw_epoch(60, seed=3, epoch=0)
    batch = next(iter(loader_of(dataset, batch_size=20, layout=layout, transform=transform)))
    noises = set()
    for sample, image in zip(batch.samples.tolist(), batch.images.numpy(), strict=True):
        picture = decoded["train"][sample]
        expected = transform.apply(picture, draws, sample, None)
        assert np.array_equal(np.moveaxis(image, -1, 0) if layout == "NHWC" else image, expected.astype(np.float32))
        erased = expected != dataclasses.replace(transform, ops=()).apply(picture, draws, sample, None)
        noises |= {expected[erased][:3].tobytes()} if erased.any() else set()
        assert np.abs(expected[erased]).max(initial=0) < 6
    assert len(noises) >= 10


def test_noise_is_normal_and_cut_anywhere() -> None:
    """Kolmogorov-Smirnov (1.95) for values, places and the number of rectangles, three seeds."""
    op = RandomErasing(p=1.0, scale=(0.02, 0.1), ratio=(0.5, 2.0), value="random", count=3)
    context = Transform(crop=RandomCrop(size=4000)).context(None, None)
    values = np.sort(noise_table(200).ravel())
    assert np.abs(scipy.special.ndtr(values) - np.arange(len(values)) / len(values)).max() < 1.95 / len(values) ** 0.5
    for seed in range(3):
        chosen = op.choose(op.draw(np.random.default_rng(seed), 100_000), context)
        assert chosen["noise"].min() == 0
        assert chosen["noise"].max() == 4000
        for places in chosen["noise"].T:
            even = np.arange(len(places)) / len(places)
            assert np.abs(np.sort(places) / 4001 - even).max() < 1.95 / len(places) ** 0.5 + 1e-3
        areas = chosen["shape"].reshape(-1, 3, 2).prod(axis=2) / 4000**2
        numbers = (areas > 0).sum(axis=1)
        found = np.bincount(numbers, minlength=4)[1:]
        assert ((found - 1e5 / 3) ** 2 / (1e5 / 3)).sum() < 13.8, "chi squared, 2 degrees of freedom, alpha 0.001"
        shares = np.sort(((areas * numbers[:, None] - 0.02) / 0.08)[areas > 0])
        assert np.abs(shares - np.arange(len(shares)) / len(shares)).max() < 1.95 / len(shares) ** 0.5 + 1e-3


def test_the_text_without_several_rectangles_is_the_one_it_was() -> None:
    """States of older versions hold it."""
    assert repr(RandomErasing(p=0.25)) == "RandomErasing(p=0.25, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0.0)"
    assert repr(NOISE).endswith("value='random', count=3)")


def test_erased_areas_and_shapes_are_those_asked_for() -> None:
    """Over 10^5 occurrences, three seeds, for rectangles that always fit: both uniform by Kolmogorov-Smirnov (1.95)."""
    op = RandomErasing(p=0.25, scale=(0.02, 0.2), ratio=(0.5, 2.0))
    context = Transform(crop=RandomCrop(size=4000)).context(None, None)
    for seed in range(3):
        chosen = op.choose(op.draw(np.random.default_rng(seed), 100_000), context)
        height, width = chosen["shape"].astype(np.float64).T
        erased = height > 0
        assert abs(erased.mean() - 0.25) < 4 * (0.25 * 0.75 / 1e5) ** 0.5
        assert (chosen["anchor"] + chosen["shape"] <= 4000).all()
        height, width = height[erased], width[erased]
        places = (
            (height * width / 4000**2 - 0.02) / 0.18,
            np.log(height / width) / np.log(4) + 0.5,
            chosen["anchor"][erased, 0] / (4000 - height),
            chosen["anchor"][erased, 1] / (4000 - width),
        )
        for values in places:
            even = np.arange(len(values)) / len(values)
            assert np.abs(np.sort(values) - even).max() < 1.95 / len(values) ** 0.5


def test_pixels_do_not_depend_on_batches_ranks_or_resumption(dataset: Dataset) -> None:
    """With every op of one image in the transform."""
    loader = functools.partial(loader_of, dataset, transform=EVERY)
    whole = images_of(loader(batch_size=60))
    assert len(whole) == 60
    assert images_of(loader(batch_size=7, prefetch=0, num_threads=1)) == whole
    assert images_of(*(loader(batch_size=12, rank=rank, world_size=3) for rank in range(3))) == whole
    first = loader(batch_size=8)
    next(iter(first))
    state = json.loads(json.dumps(first.state_dict()))
    others = [loader(batch_size=20, rank=rank, world_size=2) for rank in range(2)]
    for other in others:
        other.load_state_dict(state)
    rest = images_of(*others)
    assert rest.items() <= whole.items()
    assert len(rest) == 52


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_gpu_graph_is_defined_without_a_gpu(layout: Layout, output_devices: Callable[..., list[str]]) -> None:
    assert output_devices(TRANSFORM, layout=layout) == ["gpu"]
    assert output_devices(dataclasses.replace(TRANSFORM, ops=(NOISE,)), layout=layout) == ["gpu"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (0.3, 0.1)}, r"`scale` \(=\(0.3, 0.1\)\) must be a range in 0..1"),
        ({"ratio": (0.0, 1.0)}, r"`ratio` \(=\(0.0, 1.0\)\) must be a range of positive numbers"),
        ({"value": float("nan")}, r"`value` \(=nan\) must be finite"),
        ({"value": "noise"}, r"`value` \(='noise'\) must be a number or .* or one of random"),
        ({"count": 0}, r"`count` \(=0\) must lie in 1..100"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        RandomErasing(**settings)
