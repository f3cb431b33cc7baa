"""The predictions file returns what was saved, and is refused for another dataset, split or number of views."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError
from freelight.train.evaluation import Predictions, join_predictions


def predictions(dataset: Dataset, probabilities: np.ndarray, name: str = "a") -> Predictions:
    return Predictions(
        names=np.array([name]),
        probabilities=probabilities[None].astype(np.float32),
        labels=dataset.split("val").samples["label"].astype(np.int64),
        seconds=np.ones(1),
        reordered=np.zeros(1, bool),
        fingerprint=dataset.fingerprint,
        split="val",
        views=1,
    )


def test_a_file_gives_back_what_was_saved(dataset: Dataset, tmp_path: Path) -> None:
    saved = predictions(dataset, np.random.default_rng(0).dirichlet(np.ones(10), 20))
    saved.save(tmp_path / "x.npz")
    read = Predictions.load(tmp_path / "x.npz")
    for name, value in vars(saved).items():
        np.testing.assert_array_equal(getattr(read, name), value)
    read.check_source(dataset, "val", 1, tmp_path / "x.npz")


def test_another_file_or_another_dataset_is_an_error_that_names_it(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"there is no file .*none\.npz; .*freelight evaluate --predictions"):
        Predictions.load(tmp_path / "none.npz")
    for content in (b"", b"no archive"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(
            FreelightError, match=r"x\.npz cannot be read .*; write it again with: freelight evaluate --predictions"
        ):
            Predictions.load(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(FreelightError, match=r"x\.npy cannot be read"):
        Predictions.load(tmp_path / "x.npy")
    np.savez(tmp_path / "y.npz", names=np.array(["a"]))
    with pytest.raises(FreelightError, match=r"y\.npz has no array 'probabilities'"):
        Predictions.load(tmp_path / "y.npz")
    held = predictions(dataset, np.full((20, 10), 0.1))
    for split, views, message in (
        ("train", 1, "another split: 'val', not 'train'"),
        ("val", 10, "another views: 1, not 10"),
    ):
        with pytest.raises(FreelightError, match=message):
            held.check_source(dataset, split, views, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": np.zeros((1, 20, 10))}, "probabilities holds .*f8.*, not float32"),
        ({"probabilities": np.zeros((1, 20), np.float32)}, r"probabilities has the shape \(1, 20\), not"),
        ({"probabilities": np.full((1, 19, 10), 0.1, np.float32)}, r"labels has the shape \(20,\), not"),
        ({"probabilities": np.full((1, 20, 10), np.nan, np.float32)}, "probabilities has values that are not finite"),
        ({"probabilities": np.zeros((1, 20, 10), np.float32)}, "the probabilities of a sample must have the sum 1"),
        ({"probabilities": np.tile(np.float32([-1, 2]), (1, 20, 5))}, "probabilities must not be negative"),
        ({"labels": np.full(20, 10)}, r"labels must lie in -1\.\.9"),
        ({"labels": np.full(20, -2)}, r"labels must lie in -1\.\.9"),
        ({"labels": np.zeros(20, np.int32)}, "labels holds .*i4.*, not int64"),
        ({"seconds": np.zeros(1)}, "seconds must be positive"),
        ({"seconds": np.ones(2)}, r"seconds has the shape \(2,\), not"),
        ({"views": 3}, r"views \(=3\) must be 1 or 10"),
        ({"split": np.array(["val"])}, r"split has the shape \(1,\), not"),
        ({"names": np.array([b"a"])}, "names holds .*, not str"),
    ],
)
def test_a_damaged_value_is_named(changes: dict[str, Any], message: str, dataset: Dataset, tmp_path: Path) -> None:
    saved = vars(predictions(dataset, np.full((20, 10), 0.1)))
    np.savez(tmp_path / "x.npz", **{**saved, **changes})
    with pytest.raises(FreelightError, match=rf"x\.npz: {message}.*; write it again .* evaluate --predictions"):
        Predictions.load(tmp_path / "x.npz")


def test_other_labels_than_the_datasets_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    held = predictions(dataset, np.full((20, 10), 0.1))
    held = dataclasses.replace(held, labels=held.labels[::-1])
    with pytest.raises(FreelightError, match=rf"{tmp_path} has other classes or labels than {dataset.folder}"):
        held.check_source(dataset, "val", 1, tmp_path)


def test_joined_networks_stay_in_order(dataset: Dataset) -> None:
    parts = [predictions(dataset, np.full((20, 10), value), name) for name, value in (("a", 0.1), ("b", 0.2))]
    joined = join_predictions(parts)
    assert joined.names.tolist() == ["a", "b"]
    np.testing.assert_allclose(joined.probabilities[:, 0, 0], [0.1, 0.2])
