"""The statistics equal scikit-learn's over all pixels at once, with the same bits for any number of workers."""

import io
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from freelight.shards import (
    Dataset,
    FreelightError,
    Rescaling,
    ShardSettings,
    Statistics,
    compute_statistics,
    list_images,
    make_shards,
)

FIELDS = (
    *("mean_image", "mean", "covariance", "eigenvalues", "eigenvectors", "pixels", "images"),
    *("fingerprint", "split"),
)
DERIVED = ("std", "eigenvalue_roots", "mean_01", "std_01", "eigenvalues_01", "eigenvalue_roots_01", "units")


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


# The values.


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


# A special case: pictures without colour.


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
    """Their covariance is singular, so it has no Cholesky factor."""
    found = compute_statistics(grey)
    values = decoded(grey, "train")[..., 0].astype(np.float64)
    np.testing.assert_allclose(found.eigenvalues[0], 3 * values.var(ddof=1), rtol=1e-9)
    np.testing.assert_allclose(found.eigenvalues[1:], 0, atol=1e-9)
    assert np.all(found.eigenvalues >= 0)
    np.testing.assert_allclose(np.abs(found.eigenvectors[:, 0]), 3**-0.5, rtol=1e-9)
    np.testing.assert_allclose(found.eigenvectors.T @ found.eigenvectors, np.eye(3), atol=1e-12)
    found.save(tmp_path)
    np.testing.assert_allclose(
        Statistics.load(tmp_path / "statistics.npz").pca.components_, found.eigenvectors.T, atol=1e-12
    )


# The files.


def test_what_is_saved_is_loaded_and_the_twin_says_the_same(statistics: Statistics, tmp_path: Path) -> None:
    statistics.save(tmp_path / "some.npz")
    loaded = Statistics.load(tmp_path / "some.npz")
    assert_same_bits(loaded, statistics)
    types = [type(getattr(loaded, name)) for name in ("pixels", "images", "fingerprint", "split")]
    assert types == [int, int, str, str]
    twin = json.loads((tmp_path / "some.json").read_text())
    with np.load(tmp_path / "some.npz", allow_pickle=False) as archive:
        assert sorted(archive) == sorted((*FIELDS, *DERIVED))
        for name in (*FIELDS[1:], *DERIVED):
            assert np.array_equal(twin[name], archive[name])
    assert "mean_image" not in twin


def test_the_file_has_what_other_programs_ask_for_in_both_units(
    images: npt.NDArray[np.uint8], dataset: Dataset
) -> None:
    """Each number is computed again from pixels in 0-1 and in 0-255: a factor of 255 is the usual mistake."""
    with np.load(dataset.folder / "statistics.npz") as archive:
        found = dict(archive)
    for suffix, unit in (("", 1), ("_01", 255)):
        pixels = images.reshape(-1, 3) / unit
        values = np.linalg.eigvalsh(np.cov(pixels, rowvar=False))[::-1]
        np.testing.assert_allclose(found[f"mean{suffix}"], pixels.mean(0), rtol=1e-9)
        np.testing.assert_allclose(found[f"std{suffix}"], pixels.std(0, ddof=1), rtol=1e-9)
        np.testing.assert_allclose(found[f"eigenvalues{suffix}"], values, rtol=1e-9)
        np.testing.assert_allclose(found[f"eigenvalue_roots{suffix}"], np.sqrt(values), rtol=1e-9)
    units = str(found["units"])
    assert units.startswith("pixels are RGB, 0-255; names ending in _01 are for pixels divided by 255")
    assert "eigenvectors: in columns, their rows R, G, B" in units


def test_files_saved_twice_are_equal_byte_for_byte(
    statistics: Statistics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved a year apart, because zip archives usually store the time."""
    once, later = tmp_path / "once", tmp_path / "later"
    once.mkdir()
    later.mkdir()
    statistics.save(once)
    monkeypatch.setattr("time.time", lambda: 2e9)
    statistics.save(later)
    for name in ("statistics.npz", "statistics.json"):
        assert (once / name).read_bytes() == (later / name).read_bytes()


def test_statistics_missing_or_unfinished_are_an_error_with_the_remedy(grey: Dataset, tmp_path: Path) -> None:
    remedy = "freelight compute-pca --shards .*dataset$"
    with pytest.raises(FreelightError, match=rf"statistics\.npz is missing; make it with: {remedy}"):
        Statistics.load(grey.folder)
    with pytest.raises(FreelightError, match=r"some\.npz is missing; .*freelight compute-pca .* --out .*some\.npz$"):
        Statistics.load(tmp_path / "some.npz")
    unfinished = grey.folder / ".statistics.npz.partial"
    unfinished.touch()
    with pytest.raises(FreelightError, match=rf"statistics\.npz is unfinished; continue with: {remedy}"):
        Statistics.load(grey.folder)
    unfinished.unlink()


def test_a_folder_that_is_no_dataset_has_no_statistics(statistics: Statistics, tmp_path: Path) -> None:
    statistics.save(tmp_path)
    with pytest.raises(FreelightError, match="is not a finished dataset"):
        Statistics.load(tmp_path)


def test_a_dataset_does_not_yield_the_statistics_of_another(dataset_copy: Dataset, grey: Dataset) -> None:
    """The file was copied from elsewhere, or is older than the dataset. Read by its own path, it is accepted."""
    compute_statistics(grey).save(dataset_copy.folder)
    own, other = dataset_copy.fingerprint[:12], grey.fingerprint[:12]
    message = (
        rf"is for another dataset \({other}\), not for this dataset's train \({own}\); make it again .*compute-pca"
    )
    with pytest.raises(FreelightError, match=message):
        Statistics.load(dataset_copy.folder)
    assert Statistics.load(dataset_copy.folder / "statistics.npz").fingerprint == grey.fingerprint


def test_a_dataset_does_not_yield_the_statistics_of_its_other_split(dataset_copy: Dataset) -> None:
    val = compute_statistics(dataset_copy, "val")
    with pytest.raises(FreelightError, match=r"statistics\.npz is for the split train, not val; name another file"):
        val.save(dataset_copy.folder)
    val.save(dataset_copy.folder / "statistics.npz")
    with pytest.raises(
        FreelightError, match=r"is for the split val, not for this dataset's train .*; make it again with"
    ):
        Statistics.load(dataset_copy.folder)


@pytest.mark.parametrize("size", [0, 1, 100, 300_000, -1])
def test_a_statistics_file_cut_short_is_an_error_with_the_remedy(size: int, dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "statistics.npz"
    os.truncate(path, size % path.stat().st_size)
    with pytest.raises(FreelightError, match=r"statistics\.npz cannot be read .*; make it again .*compute-pca"):
        Statistics.load(dataset_copy.folder)


@pytest.mark.parametrize("content", [b"garbage" * 99, b"PK\3\4" + bytes(99)])
def test_a_statistics_file_of_something_else_is_an_error_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(FreelightError, match=r"some\.npz cannot be read .*; make it again with: freelight compute-pca"):
        Statistics.load(tmp_path / "some.npz")


def test_a_statistics_file_with_a_flipped_byte_or_without_a_field_is_an_error(dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "statistics.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(FreelightError, match="make it again with: freelight compute-pca"):
        Statistics.load(dataset_copy.folder)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(FreelightError, match="make it again with: freelight compute-pca"):
        Statistics.load(dataset_copy.folder)
