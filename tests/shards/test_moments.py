"""Sums of pixels are exact, and the eigenbasis from them is that of all pixels."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

from freelight.shards import Dataset, FreelightError, RGBMoments, Statistics


@pytest.fixture(scope="module")
def images(dataset: Dataset) -> npt.NDArray[np.uint8]:
    """200 pictures of 64 pixels: windows of the drawn ones. uint8 (200, 64, 64, 3)."""
    split = dataset.split("train")
    whole = np.stack([np.asarray(Image.open(io.BytesIO(split.read(index)))) for index in range(50)])
    return np.concatenate([whole[:, top : top + 64, 2 * top : 2 * top + 64] for top in (0, 40, 90, 96)])


def finished(moments: RGBMoments) -> Statistics:
    return Statistics.from_moments(moments, fingerprint="", split="train")


def test_they_are_scikit_learns_pca_of_every_pixel_to_1e_10_and_incremental_pcas_to_1e_6(
    images: npt.NDArray[np.uint8],
) -> None:
    pixels = images.reshape(-1, 3).astype(np.float64)
    found = finished(RGBMoments().partial_fit(images))
    incremental = IncrementalPCA()
    for image in images:
        incremental.partial_fit(image.reshape(-1, 3))
    for fitted, rtol in ((PCA().fit(pixels), 1e-10), (incremental, 1e-6)):
        np.testing.assert_allclose(found.mean, fitted.mean_, rtol=rtol)
        np.testing.assert_allclose(found.eigenvalues, fitted.explained_variance_, rtol=rtol)
        np.testing.assert_allclose(found.eigenvectors, fitted.components_.T, rtol=0, atol=rtol)  # signs included


def test_sums_are_exact_integers(images: npt.NDArray[np.uint8]) -> None:
    """White pictures have the largest sums; float32, or a float64 sum over a few million pictures, would round."""
    white = np.full((3, 256, 256, 3), 255, np.uint8)
    odd = (white[:, :7, :37], images[:, :7, 1:38])  # no multiple of a chunk
    small = (white[:, :1, :1], np.tile(white[:, :3, :3], (200, 1, 1, 1)))  # 600 pictures: more than two chunks
    for some in (images[:5], white, *odd, *small):
        pixels = some.reshape(-1, 3).astype(np.int64)
        moments = RGBMoments().partial_fit(some)
        assert np.array_equal(moments.sum_products_, pixels.T @ pixels)
        assert np.array_equal(moments.sum_image_, some.astype(np.int64).sum(axis=0))
        assert moments.n_images_ == len(some)
        assert moments.sum_image_.dtype == moments.sum_products_.dtype == np.int64


def test_sums_have_room_for_all_of_imagenet() -> None:
    """Fall 2011, all white: 15 million pictures of 256 x 256. The covariance of one colour is exactly 0."""
    part = RGBMoments().partial_fit(np.full((1, 256, 256, 3), 255, np.uint8))
    whole = RGBMoments().merge(part)
    for _ in range(24):
        twin = RGBMoments().merge(whole)
        whole.merge(twin)
    assert whole.n_images_ == 2**24
    assert int(whole.sum_products_[0, 0]) == 255**2 * 65536 * 2**24
    black = RGBMoments().partial_fit(np.zeros((1, 256, 256, 3), np.uint8))
    covariance = finished(whole.merge(black)).covariance
    share = 2**24 / (2**24 + 1)
    np.testing.assert_allclose(covariance, 255**2 * share * (1 - share), rtol=1e-10)


def test_merging_in_any_order_gives_the_same_bits(images: npt.NDArray[np.uint8]) -> None:
    expected = finished(RGBMoments().partial_fit(images))
    rng = np.random.default_rng(0)
    for _ in range(3):
        cuts = np.sort(rng.choice(np.arange(1, 200), 6, replace=False))
        parts = [RGBMoments().partial_fit(part) for part in np.split(images[rng.permutation(200)], cuts)]
        while len(parts) > 1:  # a random tree of merges
            one, other = (parts.pop(int(rng.integers(len(parts)))) for _ in range(2))
            parts.append(one.merge(other))
        got = finished(parts[0])
        for name, value in vars(expected).items():
            assert np.asarray(getattr(got, name)).tobytes() == np.asarray(value).tobytes(), name


def test_pictures_of_one_colour_have_no_eigenbasis() -> None:
    with pytest.raises(FreelightError, match="all pixels have the same colour, so there are no principal axes"):
        finished(RGBMoments().partial_fit(np.full((4, 5, 5, 3), 9, np.uint8)))


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


def test_images_of_several_sizes_are_summed_over_all_pixels(images: npt.NDArray[np.uint8]) -> None:
    """In any order of merging; one of them is larger than the block that is summed at a time."""
    wide = np.tile(images[:5].reshape(1, -1, 64, 3), (1, 1, 30, 1))
    parts = [images[:9], images[9:40, :7], wide, images[40:41, :1, :1], images[41:, :, 5:50]]
    pixels = np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int64)
    found = [RGBMoments(mean_image=False).partial_fit(part) for part in parts]
    whole = RGBMoments(mean_image=False).merge(RGBMoments(mean_image=False).merge(found[4]).merge(found[2]))
    whole.merge(found[0]).merge(found[3]).merge(RGBMoments().fit(parts[1]))
    assert (whole.n_images_, whole.n_pixels_, whole.sum_image_) == (201, len(pixels), None)
    assert np.array_equal(whole.sum_, pixels.sum(axis=0))
    assert np.array_equal(whole.sum_products_, pixels.T @ pixels)
    statistics, fitted = finished(whole), PCA().fit(pixels.astype(np.float64))
    np.testing.assert_allclose(statistics.mean, fitted.mean_, rtol=1e-10)
    np.testing.assert_allclose(statistics.covariance, np.cov(pixels.T), rtol=1e-10)
    np.testing.assert_allclose(statistics.eigenvectors, fitted.components_.T, rtol=0, atol=1e-10)
    with pytest.raises(FreelightError, match="sums without a mean image cannot be added to sums with one"):
        RGBMoments().fit(parts[0]).merge(whole)


def test_images_of_another_size_are_an_error() -> None:
    moments = RGBMoments().partial_fit(np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(
        FreelightError, match=r"images of shape \(5, 4, 3\) cannot be added to images of shape \(4, 4, 3\)"
    ):
        moments.partial_fit(np.zeros((1, 5, 4, 3), np.uint8))


STATUSES = ("passed", "failed", "skipped")
CHECKED = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimators_unfitted",
    "check_fit1d",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
}


def test_it_keeps_scikit_learns_contract_where_its_input_allows() -> None:
    """`check_estimator`'s other checks fit tables of floats (n, features), which are no images: they are refused."""
    results = check_estimator(RGBMoments(), on_fail=None, on_skip=None)
    by_status = {status: {one["check_name"] for one in results if one["status"] == status} for status in STATUSES}
    assert by_status["passed"] >= CHECKED
    assert by_status["failed"] >= {"check_estimators_dtypes", "check_fit_idempotent"}, "tables of floats are accepted"


def test_fit_forgets_what_was_added_before(images: npt.NDArray[np.uint8]) -> None:
    moments = RGBMoments().fit(images, y=None)
    check_is_fitted(moments)
    expected = moments.sum_image_.copy()
    assert np.array_equal(moments.fit(images).sum_image_, expected)
    assert moments.n_images_ == len(images)
    assert moments.partial_fit(images, None).n_images_ == 2 * len(images)
    cloned = clone(moments)
    with pytest.raises(NotFittedError):
        check_is_fitted(cloned)


def test_merging_estimators_without_images_adds_nothing(images: npt.NDArray[np.uint8]) -> None:
    moments = RGBMoments().merge(RGBMoments())
    with pytest.raises(NotFittedError):
        check_is_fitted(moments)
    assert moments.merge(RGBMoments().fit(images)).merge(RGBMoments()).n_images_ == len(images)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 4, 4, 3)), "must be a NumPy array of uint8, 0-255, RGB; these are float64"),
        (np.zeros((2, 4, 4, 3), np.int8), "these are int8"),
        ([[0]], "these are list"),
        (np.zeros((4, 4, 3), np.uint8), r"must have the shape \(n, H, W, 3\), none of them 0; these have \(4, 4, 3\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"these have \(2, 3, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"these have \(0, 4, 4, 3\)"),
    ],
)
def test_other_arrays_are_refused_and_leave_the_sums_as_they_were(
    wrong: Any, message: str, images: npt.NDArray[np.uint8]
) -> None:
    """Float pixels of 0-1 gave sums of zero without a word."""
    moments = RGBMoments().fit(images)
    for add in (moments.fit, moments.partial_fit):
        with pytest.raises(FreelightError, match=message):
            add(wrong)
    assert moments.n_images_ == len(images)
