"""The predictions file returns what was saved, and is refused for another dataset, split or number of views."""

from pathlib import Path

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError
from freelight.train.evaluation import Predictions, join_predictions


def predictions(dataset: Dataset, probabilities: np.ndarray, name: str = "a") -> Predictions:
    return Predictions(
        names=np.array([name]),
        probabilities=probabilities[None].astype(np.float32),
        labels=np.zeros(len(probabilities), np.int64),
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
    with pytest.raises(FreelightError, match=r"there is no file .*none\.npz; write it with: evaluate --predictions"):
        Predictions.load(tmp_path / "none.npz")
    for content in (b"", b"no archive"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(FreelightError, match=r"x\.npz is not a predictions file"):
            Predictions.load(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(FreelightError, match=r"x\.npy is not a predictions file"):
        Predictions.load(tmp_path / "x.npy")
    np.savez(tmp_path / "y.npz", names=np.array(["a"]))
    with pytest.raises(FreelightError, match=r"y\.npz is not a predictions file"):
        Predictions.load(tmp_path / "y.npz")
    held = predictions(dataset, np.full((20, 10), 0.1))
    for split, views, message in (
        ("train", 1, "another split: val, not train"),
        ("val", 10, "another views: 1, not 10"),
    ):
        with pytest.raises(FreelightError, match=message):
            held.check_source(dataset, split, views, tmp_path)


def test_joined_networks_stay_in_order(dataset: Dataset) -> None:
    parts = [predictions(dataset, np.full((20, 10), value), name) for name, value in (("a", 0.1), ("b", 0.2))]
    joined = join_predictions(parts)
    assert joined.names.tolist() == ["a", "b"]
    np.testing.assert_allclose(joined.probabilities[:, 0, 0], [0.1, 0.2])
