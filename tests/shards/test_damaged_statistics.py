"""Statistics that cannot be those of pixels are one line that names the file, the field and the remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError, Statistics, compute_statistics
from freelight.shards.statistics.computing import decode_shard

Arrays = dict[str, Any]


def edited(array: Any, value: float) -> Any:
    changed = array.copy()
    changed.flat[1] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mean_image", lambda a: edited(a, np.nan), r": mean_image has values that are not finite"),
        ("mean_image", lambda a: edited(a, -1), ": mean_image and mean must lie in 0..255"),
        ("mean_image", lambda a: a.astype(np.float64), ": mean_image holds '<f8', not float32"),
        ("mean_image", lambda a: a[..., :2], r": mean_image has the shape .*, not \(side, side, 3\)"),
        ("mean_image", lambda a: a[:9], r": mean_image has the shape \(9, 256, 3\)"),
        ("mean_image", lambda a: a[:0, :0], "pixels .* must be those of .* images"),
        ("mean", lambda a: edited(a, 1e300), ": mean_image and mean must lie in 0..255"),
        ("mean", lambda a: a.astype(object), r": mean holds '\|O', not float64"),
        ("covariance", lambda a: edited(a, np.inf), ": covariance has values that are not finite"),
        ("covariance", lambda a: edited(a, 7.0), ": covariance must be symmetric"),
        ("covariance", lambda a: -a, ": covariance must have variances in 0"),
        ("eigenvalues", lambda a: a[:2], r": eigenvalues has the shape \(2,\), not \(3\)"),
        ("eigenvalues", lambda a: edited(a, np.nan), ": eigenvalues has values that are not finite"),
        ("eigenvalues", lambda a: a - 2 * a[-1], r": eigenvalues must lie in 0\.\."),
        ("eigenvalues", lambda a: a[::-1], ": eigenvalues must descend"),
        ("eigenvectors", lambda a: edited(a, 1e300), ": eigenvectors must be orthonormal"),
        ("pixels", lambda a: a + 1, r": pixels \(=3932161\) must be those of 60 images of this size"),
        ("images", lambda a: a * 0, r": images \(=0\) must be at least 1"),
        ("images", lambda a: a.astype(np.float64), r": images holds '<f8', not int64"),
        ("fingerprint", lambda a: np.array("x"), r": fingerprint \(='x'\) must be a sha256"),
        ("split", lambda a: np.array("../x"), r": split \(='\.\./x'\) must be a name"),
        ("split", lambda a: None, "has no array 'split'"),
    ],
)
def test_values_that_no_pixels_have_are_refused(
    name: str, change: Any, message: str, dataset: Dataset, tmp_path: Path
) -> None:
    with np.load(dataset.folder / "statistics.npz") as archive:
        arrays: Arrays = dict(archive)
    changed = change(arrays.pop(name))
    if changed is not None:
        arrays[name] = changed
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(FreelightError, match=rf"some\.npz:? ?{message}.*; make it again with: freelight compute-pca"):
        Statistics.load(tmp_path / "some.npz")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("n_images_", lambda a: a + 1),
        ("shards", lambda a: ~a),
        ("shards", lambda a: a[:2]),
        ("sum_image_", lambda a: a[:9, :9]),
        ("sum_image_", lambda a: -a),
        ("sum_image_", lambda a: a + 255 * 60),
        ("sum_products_", lambda a: -a),
        ("sum_products_", lambda a: edited(a, 0)),
        ("sum_products_", lambda a: a - np.diag(a.diagonal() // 2)),  # less than the square of the mean
    ],
)
def test_sums_that_are_not_the_finished_shards_stop_a_restart(
    name: str, change: Any, dataset: Dataset, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    compute_statistics(dataset, record=record, watch=lambda parts, total: [next(iter(parts))])  # stops after one
    with np.load(record) as archive:
        arrays: Arrays = dict(archive)
    arrays[name] = change(arrays[name])
    with record.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(
        FreelightError, match=r"record: the sums are not those .* finished shards; delete it to start again"
    ):
        compute_statistics(dataset, record=record)


def test_squares_whose_statistics_have_lost_the_mean_image_are_refused(dataset_copy: Dataset) -> None:
    path = dataset_copy.folder / "statistics.npz"
    with np.load(path) as archive:
        np.savez(path, **{name: value for name, value in archive.items() if name != "mean_image"})
    with pytest.raises(FreelightError, match=r"statistics\.npz is for images of another size, .*; make it again with"):
        Statistics.load(dataset_copy.folder)


def test_a_sample_of_another_size_than_the_manifest_says_is_named(dataset_copy: Dataset) -> None:
    """Memory for a size that no picture has is not taken."""
    object.__setattr__(dataset_copy.manifest, "image_size", 65_000)
    with pytest.raises(FreelightError, match=r"train\.samples\.npy: row 0: height \(=256\) must be 65000"):
        next(decode_shard(dataset_copy, "train", 0))
