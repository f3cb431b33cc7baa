"""Windows are drawn as in their sources: the 2012 code's shared draws, and torchvision's resized crops."""

import io
import math
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from PIL import Image

from freelight.pipeline import (
    CenterCrop,
    Lighting,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
    draw_epoch,
)
from freelight.shards import Dataset, FreelightError

MANY = 100_000


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 1000])
def test_32_consecutive_written_samples_share_one_place_and_one_flip(samples: int) -> None:
    """They share nothing else. The draw is that of the first sample; the lighting noise differs."""
    draws = draw_epoch(samples, seed=0, epoch=3)
    sharing = Transform(crop=RandomCrop(shared_by=32))
    windows, flips = sharing.windows(draws, 256), sharing.flips(draws)
    alone = Transform()
    for first in range(0, samples, 32):
        assert (windows[first : first + 32] == alone.windows(draws, 256)[first]).all()
        assert (flips[first : first + 32] == alone.flips(draws)[first]).all()


def test_shared_offsets_are_still_uniform_over_all_33() -> None:
    groups = [
        Transform(crop=RandomCrop(shared_by=32)).windows(draw_epoch(32_000, seed=0, epoch=epoch), 256)[::32]
        for epoch in range(40)
    ]
    offsets = np.concatenate(groups)[:, :2]
    assert len(np.unique(np.concatenate(groups)[:1000], axis=0)) > 500, "groups differ"
    for axis in range(2):
        counts = np.bincount(offsets[:, axis], minlength=33)
        assert len(counts) == 33
        assert scipy.stats.chisquare(counts).pvalue > 0.001, counts


def torchvision_sampling(
    side: int, scale: tuple[float, float], ratio: tuple[float, float], generator: random.Random
) -> tuple[int, int, int, int]:
    """`torchvision.transforms.RandomResizedCrop.get_params` for a square, as its source reads."""
    for _ in range(10):
        target_area = side * side * generator.uniform(*scale)
        aspect_ratio = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width = round(math.sqrt(target_area * aspect_ratio))
        height = round(math.sqrt(target_area / aspect_ratio))
        if 0 < width <= side and 0 < height <= side:
            return generator.randint(0, side - height), generator.randint(0, side - width), height, width
    return 0, 0, side, side


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3)),
        ((0.25, 1.0), (1.0, 1.0)),
        ((0.9, 1.0), (0.2, 5.0)),  # most do not fit, some not in ten draws
        ((0.001, 0.01), (0.5, 1.0)),
    ],
)
def test_resized_crops_are_distributed_as_torchvisions(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    ours = RandomResizedCrop(scale=scale, ratio=ratio).windows(draw_epoch(MANY, seed=0, epoch=0), 256)
    generator = random.Random(0)
    theirs = np.array([torchvision_sampling(256, scale, ratio, generator) for _ in range(20_000)])
    assert (ours >= [0, 0, 1, 1]).all()
    assert (ours[:, :2] + ours[:, 2:] <= 256).all()

    def features(windows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        top, left, height, width = windows.T.astype(np.float64)
        bottom, right = 256 - top - height, 256 - left - width
        return np.stack([top, left, height, width, bottom, right, height * width, height / width, top - bottom])

    for name, mine, its in zip(
        ("top", "left", "height", "width", "bottom", "right", "area", "shape", "middle"),
        features(ours),
        features(theirs),
        strict=True,
    ):
        assert scipy.stats.ks_2samp(mine, its).pvalue > 0.001, name
    whole = (ours == [0, 0, 256, 256]).all(axis=1).mean(), (theirs == [0, 0, 256, 256]).all(axis=1).mean()
    assert whole[0] == pytest.approx(whole[1], abs=0.01)


def test_the_windows_of_resized_crops_belong_to_seed_epoch_and_sample() -> None:
    crop = RandomResizedCrop()
    first = crop.windows(draw_epoch(1000, seed=1, epoch=2), 256)
    assert np.array_equal(first, crop.windows(draw_epoch(1000, seed=1, epoch=2, order="sequential"), 256))
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        other = crop.windows(draw_epoch(1000, seed=seed, epoch=epoch), 256)
        assert (other == first).all(axis=1).mean() < 0.01


@pytest.mark.parametrize("size", [8, 32, 224, 300])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.001, 0.01), (1.0, 1.0)])
def test_resized_pixels_are_pillows_within_one_grey_level(
    size: int, scale: tuple[float, float], dataset: Dataset
) -> None:
    """Shrunk thirtyfold or enlarged a hundredfold.

    The outermost pixels of a shrunk window are an exception: there DALI repeats the window's edge, and Pillow leaves
    out pixels beyond it. In crops of 224 pixels this adds one grey level in a few pixels.
    """
    crop = RandomResizedCrop(size=size, scale=scale)
    transform = Transform(crop=crop, mean="none", lighting=Lighting(mode="off"), dtype="uint8", flip_probability=0)
    loader = Loader(dataset, "train", batch_size=30, transform=transform, extras=("samples",))
    windows = crop.windows(draw_epoch(60, seed=0, epoch=0), 256)
    for batch in loader:
        for image, sample in zip(batch.images.numpy(), batch.samples.tolist(), strict=True):
            top, left, height, width = windows[sample].tolist()
            whole = Image.open(io.BytesIO(loader.split.read(sample)))
            piece = whole.crop((left, top, left + width, top + height))
            expected = np.asarray(piece.resize((size, size), Image.Resampling.BILINEAR), np.int32)
            error = np.abs(image.transpose(1, 2, 0) - expected)
            assert error[1:-1, 1:-1].max() <= 1
            assert error[1:-1, 1:-1].mean() <= 0.35
            if size >= 224:
                assert error.max() <= 2
                assert (error > 1).mean() <= 1e-3


@pytest.mark.parametrize(("size", "span"), [(224, 32), (225, 31), (256, 0)])
def test_ten_crops_are_the_corners_and_the_middle_and_then_their_mirror_images(size: int, span: int) -> None:
    windows = TenCrop(size=size).fixed_windows(256)
    middle = span // 2
    places = [(0, 0), (0, span), (middle, middle), (span, 0), (span, span)]
    assert [window[:2] for window in windows] == places * 2
    assert [window.flip for window in windows] == [False] * 5 + [True] * 5
    assert CenterCrop(size=size).fixed_windows(256) == [windows[2]]


@pytest.mark.parametrize(
    ("crop", "settings", "message"),
    [
        (RandomCrop, {"size": 0}, r"crop `size` \(=0\) must be at least 1 pixel"),
        (TenCrop, {"size": -1}, r"crop `size` \(=-1\) must be at least 1 pixel"),
        (RandomCrop, {"size": 64.0}, r"`size` \(=64.0\) must be a whole number"),
        (RandomResizedCrop, {"size": 10**6}, r"`size` \(=1000000\) must be at least 1 pixel and at most"),
        (RandomCrop, {"centered": None}, r"`centered` \(=None\) must be true or false"),
        (RandomCrop, {"shared_by": True}, r"`shared_by` \(=True\) must be a whole number"),
        (RandomResizedCrop, {"scale": 0.5}, r"`scale` \(=0.5\) must be a tuple \(a number, a number\)"),
        (RandomResizedCrop, {"ratio": (None, 1)}, r"`ratio` \(=\(None, 1\)\) must be a tuple"),
        (RandomCrop, {"shared_by": 0}, r"`shared_by` \(=0\) must be at least 1"),
        (RandomResizedCrop, {"size": 0}, r"crop `size` \(=0\) must be at least 1 pixel"),
        (RandomResizedCrop, {"scale": (0, 1)}, r"`scale` \(=\(0, 1\)\) must be 0 < smallest <= largest <= 1"),
        (RandomResizedCrop, {"scale": (0.5, 0.1)}, r"`scale` \(=\(0.5, 0.1\)\) must be"),
        (RandomResizedCrop, {"scale": (0.5, 1.1)}, r"`scale` \(=\(0.5, 1.1\)\) must be"),
        (RandomResizedCrop, {"ratio": (0, 1)}, r"`ratio` \(=\(0, 1\)\) must be 0 < smallest <= 1 <= largest"),
        (RandomResizedCrop, {"ratio": (1.1, 1.2)}, r"`ratio` \(=\(1.1, 1.2\)\) must be"),
    ],
)
def test_wrong_crops_are_named(crop: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        crop(**settings)
