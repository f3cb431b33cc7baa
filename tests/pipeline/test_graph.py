"""A DALI batch equals what plain numpy and Pillow compute from the same pictures and draws, sample by sample."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from graph_oracle import (
    BATCH,
    CROPS,
    EPOCH,
    FULL_SIZE,
    LAYOUTS,
    SEED,
    SMALL,
    TRANSFORMS,
    Pictures,
    allowed_levels,
    assert_equal,
    every_transform,
    first_batch,
    in_pairs,
    oracle,
)

from freelight.pipeline import (
    CenterCrop,
    Crop,
    Lighting,
    Loader,
    RandomCrop,
    TenCrop,
    Transform,
    draw_epoch,
)
from freelight.shards import (
    Dataset,
)


def test_the_transforms_below_have_each_pair_of_settings() -> None:
    """Far fewer than all 334 kinds, but every value and every pair; the full-size ones have each crop."""
    every, chosen = list(every_transform()), in_pairs(every_transform())
    assert len(every) == 334
    assert len(chosen) < 50
    for one, other in itertools.combinations(range(5), 2):
        assert {(words[one], words[other]) for words in chosen} == {(words[one], words[other]) for words in every}
    assert {words[0] for words in FULL_SIZE} == set(CROPS)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_is_the_oracles(name: str, sized: dict[int, Pictures]) -> None:
    transform = TRANSFORMS[name]
    size, pictures = transform.crop.size, sized[transform.crop.size]
    draws = draw_epoch(len(pictures.decoded), seed=SEED, epoch=EPOCH)
    images, (planes, pixels) = [], (first_batch(pictures, transform, layout=layout) for layout in LAYOUTS)
    assert np.array_equal(planes.samples, draws.order[: len(planes.samples)])
    assert np.array_equal(planes.samples, pixels.samples)
    for batch, last in ((planes, (3, size, size)), (pixels, (size, size, 3))):
        assert batch.images.shape == (len(batch.samples), *([10] if transform.views == 10 else []), *last)
        assert batch.images.is_contiguous()
        images.append(batch.images.numpy().reshape(len(batch.samples), -1, *last))
    for sample, chw, hwc in zip(planes.samples.tolist(), *images, strict=True):
        expected = oracle(transform, pictures.decoded[sample], draws, sample, pictures.statistics)
        assert_equal(chw.transpose(0, 2, 3, 1), expected, transform.dtype, levels=allowed_levels(transform))
        assert np.array_equal(hwc, chw.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_apply_is_the_oracles_too(name: str, sized: dict[int, Pictures]) -> None:
    """`Transform.apply` is the users' oracle; here it is compared with the plain one."""
    transform, pictures = TRANSFORMS[name], sized[TRANSFORMS[name].crop.size]
    draws = draw_epoch(len(pictures.decoded), seed=SEED, epoch=EPOCH)
    for sample in draws.order[:3].tolist():
        got = transform.apply(pictures.decoded[sample], draws, sample, pictures.statistics)
        expected = oracle(transform, pictures.decoded[sample], draws, sample, pictures.statistics)
        got = got if transform.views == 10 else got[None]
        assert_equal(got.transpose(0, 2, 3, 1), expected, "uint8" if transform.dtype == "uint8" else "float64")


@pytest.mark.parametrize(
    "transform",
    [
        Transform(crop=RandomCrop(size=SMALL), lighting=Lighting(mode="off", divisor=1.1)),
        Transform(crop=CenterCrop(size=SMALL), lighting=Lighting(mode="std", divisor=1.1)),
    ],
    ids=["off", "center"],
)
def test_nothing_is_divided_where_no_noise_is_added(transform: Transform, sized: dict[int, Pictures]) -> None:
    """As in the 2012 code: its last epochs and its tests have no noise, and are not divided."""
    assert transform.divisors is None
    plain = dataclasses.replace(transform, lighting=Lighting(mode="off"))
    divided = first_batch(sized[SMALL], transform).images
    assert torch.equal(divided, first_batch(sized[SMALL], plain).images)


def test_the_draws_that_the_oracle_was_asked_about_differ(dataset: Dataset) -> None:
    """Both flips, and offsets near both ends, are among the samples above: a graph without them could not pass."""
    draws = draw_epoch(len(dataset.split("train")), seed=SEED, epoch=EPOCH)
    some = draws.order[:BATCH]
    assert 3 <= (draws.flip[some] < 0.5).sum() <= BATCH - 3
    offsets = np.floor(draws.crop[some] * 33)
    assert (offsets.min(0) <= 2).all()
    assert (offsets.max(0) >= 30).all()
    assert np.floor(draws.crop[some] * 9).min(0).tolist() == [0, 0]
    assert np.floor(draws.crop[some] * 9).max(0).tolist() == [8, 8]


@pytest.mark.parametrize("crop", [197, 200, 224, 253, 254, 255, 256])
def test_every_offset_comes_out_as_it_was_drawn(
    crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI gets a crop's place as a fraction and rounds it; every offset must be exact on both axes."""
    size, offsets = len(decoded["train"]), 257 - crop
    assert offsets <= size
    top = np.arange(size) % offsets
    left = offsets - 1 - top
    places = (np.stack([top, left], axis=1) + 0.5) / offsets
    draws = dataclasses.replace(draw_epoch(size, seed=0, epoch=0), crop=places.astype(np.float32))
    monkeypatch.setattr("freelight.pipeline.permutations.draw_epoch", lambda *args, **settings: draws)
    transform = plain(RandomCrop(size=crop), flip_probability=0)
    for batch in Loader(dataset, "train", batch_size=size, transform=transform, extras=("samples",)):
        for image, i in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            expected = decoded["train"][i][top[i] : top[i] + crop, left[i] : left[i] + crop]
            assert np.array_equal(image.transpose(1, 2, 0), expected), (top[i], left[i])


def plain(crop: Crop, **settings: Any) -> Transform:
    return Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8", **settings)


@pytest.mark.parametrize("crop", [1, 2, 37, 128])
def test_small_crops_are_cut_where_they_were_drawn(
    crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    draws = draw_epoch(len(decoded["train"]), seed=0, epoch=0)
    for batch in Loader(dataset, "train", batch_size=30, transform=plain(RandomCrop(size=crop)), extras=("samples",)):
        for image, sample in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            top, left = (math.floor(float(place) * (257 - crop)) for place in draws.crop[sample])
            expected = decoded["train"][sample][top : top + crop, left : left + crop]
            expected = np.flip(expected, axis=1) if draws.flip[sample] < 0.5 else expected
            assert np.array_equal(image.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("views", [CenterCrop, TenCrop])
@pytest.mark.parametrize("crop", [1, 199, 225, 255, 256])
def test_fixed_views_of_other_sizes_are_cut_where_apply_cuts_them(
    views: Callable[..., Crop], crop: int, dataset: Dataset, decoded: dict[str, npt.NDArray[np.uint8]]
) -> None:
    """An odd span has no middle pixel; both sides must take the same one."""
    transform = plain(views(size=crop))
    loader = Loader(dataset, "val", batch_size=3, transform=transform, order="sequential")
    draws = draw_epoch(len(loader.split), seed=0, epoch=0)
    for image, sample in zip(next(iter(loader)).images.numpy(), range(3), strict=True):
        assert np.array_equal(image, transform.apply(decoded["val"][sample], draws, sample, None))
