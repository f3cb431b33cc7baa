"""The statistics are those that scikit-learn finds in all the pixels at once, to the bit on any number of workers."""

import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.decomposition import PCA

from freelight.shards import (
    Dataset,
    FreelightError,
    Rescaling,
    RGBMoments,
    ShardSettings,
    Statistics,
    compute_statistics,
    list_images,
    make_shards,
)

FIELDS = ("mean_image", "mean", "covariance", "eigenvalues", "eigenvectors", "pixels", "images")


def decoded(dataset: Dataset, split: str) -> npt.NDArray[np.uint8]:
    """Every image of a split, by Pillow: uint8 (n, H, W, 3)."""
    opened = dataset.split(split)
    return np.stack([np.asarray(Image.open(io.BytesIO(opened.read(index)))) for index in range(len(opened))])


@pytest.fixture(scope="module")
def images(dataset: Dataset) -> npt.NDArray[np.uint8]:
    return decoded(dataset, "train")


@pytest.fixture(scope="module")
def statistics(dataset: Dataset) -> Statistics:
    return compute_statistics(dataset)


def assert_same_bits(left: Statistics, right: Statistics) -> None:
    for name in FIELDS:
        a, b = np.asarray(getattr(left, name)), np.asarray(getattr(right, name))
        assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes()), name


# What they are.


def test_the_eigenbasis_is_scikit_learns_pca_of_every_pixel(
    images: npt.NDArray[np.uint8], statistics: Statistics
) -> None:
    pixels = images.reshape(-1, 3).astype(np.float64)
    fitted = PCA().fit(pixels)
    np.testing.assert_allclose(statistics.mean, fitted.mean_, rtol=1e-9)
    np.testing.assert_allclose(statistics.eigenvalues, fitted.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(statistics.eigenvectors, fitted.components_.T, rtol=0, atol=1e-9)  # signs included
    np.testing.assert_allclose(statistics.covariance, np.cov(pixels, rowvar=False), rtol=1e-9)
    assert (statistics.images, statistics.pixels) == (60, len(pixels))


def test_the_mean_image_is_the_mean_of_every_image(images: npt.NDArray[np.uint8], statistics: Statistics) -> None:
    assert statistics.mean_image.dtype == np.float32
    np.testing.assert_allclose(statistics.mean_image, images.mean(axis=0, dtype=np.float64), rtol=0, atol=1e-4)


def test_the_loaded_pca_transforms_like_one_fitted_on_the_pixels(
    images: npt.NDArray[np.uint8], dataset: Dataset
) -> None:
    pca = Statistics.load(dataset.folder).pca
    assert isinstance(pca, PCA)
    pixels = images[:, ::16, ::16].reshape(-1, 3).astype(np.float64)
    expected = PCA().fit(images.reshape(-1, 3).astype(np.float64)).transform(pixels)
    np.testing.assert_allclose(pca.transform(pixels), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(pixels)), pixels, rtol=0, atol=1e-9)


def test_val_has_statistics_of_its_own(dataset: Dataset, statistics: Statistics) -> None:
    val = compute_statistics(dataset, "val")
    np.testing.assert_allclose(val.mean, decoded(dataset, "val").mean(axis=(0, 1, 2)), rtol=1e-9)
    assert val.images == 20
    assert not np.allclose(val.mean, statistics.mean, rtol=1e-4)


# Exactness.


def test_sums_are_exact_integers(images: npt.NDArray[np.uint8]) -> None:
    """White pictures have the largest sums; float32, or a float64 sum over a few million pictures, would round."""
    for some in (images[:5], np.full((3, 256, 256, 3), 255, np.uint8)):
        pixels = some.reshape(-1, 3).astype(np.int64)
        moments = RGBMoments().partial_fit(some)
        assert np.array_equal(moments.sum_products_, pixels.T @ pixels)
        assert np.array_equal(moments.sum_image_, some.astype(np.int64).sum(axis=0))
        assert moments.n_images_ == len(some)
        assert moments.sum_image_.dtype == moments.sum_products_.dtype == np.int64


def test_sums_have_room_for_all_of_imagenet() -> None:
    """Fall 2011, all white: 15 million pictures of 256 x 256. The covariance of one colour is nought, exactly."""
    part = RGBMoments().partial_fit(np.full((1, 256, 256, 3), 255, np.uint8))
    whole = RGBMoments().merge(part)
    for _ in range(24):
        twin = RGBMoments().merge(whole)
        whole.merge(twin)
    assert whole.n_images_ == 2**24
    assert int(whole.sum_products_[0, 0]) == 255**2 * 65536 * 2**24
    black = RGBMoments().partial_fit(np.zeros((1, 256, 256, 3), np.uint8))
    finished = Statistics.from_moments(whole.merge(black))
    share = 2**24 / (2**24 + 1)
    np.testing.assert_allclose(finished.covariance, 255**2 * share * (1 - share), rtol=1e-10)


def test_merging_in_any_order_gives_the_same_bits(images: npt.NDArray[np.uint8], statistics: Statistics) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        cuts = np.sort(rng.choice(np.arange(1, 60), 6, replace=False))
        parts = [RGBMoments().partial_fit(part) for part in np.split(images[rng.permutation(60)], cuts)]
        while len(parts) > 1:  # a random tree of merges
            one, other = (parts.pop(int(rng.integers(len(parts)))) for _ in range(2))
            parts.append(one.merge(other))
        assert_same_bits(Statistics.from_moments(parts[0]), statistics)


def test_workers_give_the_same_bits(dataset: Dataset, statistics: Statistics) -> None:
    assert_same_bits(compute_statistics(dataset, workers=2), statistics)


def test_merging_leaves_the_part_as_it_was(images: npt.NDArray[np.uint8]) -> None:
    part = RGBMoments().partial_fit(images[:1])
    whole = RGBMoments().merge(part)
    whole.merge(part)
    assert np.array_equal(part.sum_image_, images[0])
    assert whole.n_images_ == 2


def test_moments_keep_scikit_learns_contract(images: npt.NDArray[np.uint8]) -> None:
    fitted = RGBMoments().partial_fit(images[:2])
    assert fitted.partial_fit(images[2:3]) is fitted
    assert not hasattr(clone(fitted), "n_images_")


def test_images_of_another_size_are_an_error() -> None:
    moments = RGBMoments().partial_fit(np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(FreelightError, match=r"images of shape \(5, 4, 3\) among images of shape \(4, 4, 3\)"):
        moments.partial_fit(np.zeros((1, 5, 4, 3), np.uint8))


# A corner: pictures without colour.


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("grey")
    for index in range(4):
        path = root / "images" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (40, 30), dtype=np.uint8)).save(path)
    source = list_images(root / "images", val_fraction=None, class_names=None, seed=0)
    make_shards(source, root / "dataset", ShardSettings(rescaling=Rescaling(size=24), samples_per_shard=2))
    return Dataset(root / "dataset")


def test_greyscale_pictures_have_one_axis_along_grey_and_no_variance_off_it(grey: Dataset, tmp_path: Path) -> None:
    """Their covariance is singular: there is no Cholesky factor of it."""
    found = compute_statistics(grey)
    values = decoded(grey, "train")[..., 0].astype(np.float64)
    np.testing.assert_allclose(found.eigenvalues[0], 3 * values.var(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(found.eigenvalues[1:], 0, atol=1e-9)
    assert np.all(found.eigenvalues >= 0)
    np.testing.assert_allclose(np.abs(found.eigenvectors[:, 0]), 3**-0.5, rtol=1e-9)
    np.testing.assert_allclose(found.eigenvectors.T @ found.eigenvectors, np.eye(3), atol=1e-12)
    found.save(tmp_path)
    np.testing.assert_allclose(Statistics.load(tmp_path).pca.components_, found.eigenvectors.T, atol=1e-12)


# The files.


def test_what_is_saved_is_loaded_and_the_twin_says_the_same(statistics: Statistics, tmp_path: Path) -> None:
    statistics.save(tmp_path)
    loaded = Statistics.load(tmp_path)
    assert_same_bits(loaded, statistics)
    assert (type(loaded.pixels), type(loaded.images)) == (int, int)
    with np.load(tmp_path / "statistics.npz", allow_pickle=False) as archive:
        assert sorted(archive) == sorted(FIELDS)
    twin = json.loads((tmp_path / "statistics.json").read_text())
    assert twin["units"].startswith("0-255, RGB")
    for name in FIELDS[1:]:
        assert np.array_equal(twin[name], getattr(statistics, name))


def test_files_saved_twice_are_equal_byte_for_byte(
    statistics: Statistics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year apart: a zip archive would like to hold the time."""
    once, later = tmp_path / "once", tmp_path / "later"
    once.mkdir()
    later.mkdir()
    statistics.save(once)
    monkeypatch.setattr("time.time", lambda: 2e9)
    statistics.save(later)
    for name in ("statistics.npz", "statistics.json"):
        assert (once / name).read_bytes() == (later / name).read_bytes()


def test_statistics_not_computed_yet_are_an_error_with_the_remedy(grey: Dataset) -> None:
    with pytest.raises(
        FreelightError, match=r"statistics\.npz is missing; make it with: compute_pca --shards .*dataset"
    ):
        Statistics.load(grey.folder)


@pytest.mark.parametrize("size", [0, 1, 100, 300_000, -1])
def test_a_statistics_file_cut_short_is_an_error_with_the_remedy(size: int, dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "statistics.npz"
    os.truncate(path, size % path.stat().st_size)
    with pytest.raises(FreelightError, match=r"statistics\.npz cannot be read .*; make it again with compute_pca"):
        Statistics.load(dataset_copy.folder)


@pytest.mark.parametrize("content", [b"garbage" * 99, b"PK\3\4" + bytes(99)])
def test_a_statistics_file_of_something_else_is_an_error_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "statistics.npz").write_bytes(content)
    with pytest.raises(FreelightError, match=r"statistics\.npz cannot be read .*; make it again with compute_pca"):
        Statistics.load(tmp_path)


def test_a_statistics_file_with_a_flipped_byte_or_without_a_field_is_an_error(dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "statistics.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FreelightError, match="make it again with compute_pca"):
        Statistics.load(dataset_copy.folder)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(FreelightError, match="make it again with compute_pca"):
        Statistics.load(dataset_copy.folder)


def test_a_rotten_sample_stops_the_statistics(dataset_copy: Dataset) -> None:
    """It would enter the mean unseen: a JPEG with a flipped byte decodes."""
    row = dataset_copy.split("train").samples[-1]
    with (dataset_copy.folder / "train-000003.tar").open("r+b") as file:
        file.seek(int(row["offset"]) + int(row["length"]) // 2)
        file.write(b"\0\0")
    with pytest.raises(FreelightError, match=r"train-000003\.tar: sample .* is changed"):
        compute_statistics(dataset_copy)


def test_every_image_is_watched_once(dataset: Dataset) -> None:
    """The progress bar must end at its length."""
    left: list[int] = []

    def watch(parts: Iterable[RGBMoments], total: int) -> Iterator[RGBMoments]:
        left.append(total)
        for part in parts:
            left[0] -= part.n_images_
            yield part

    compute_statistics(dataset, watch=watch)
    assert left == [0]
