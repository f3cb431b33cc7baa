"""Predictions: every sample once on any number of ranks, the same from one column and two, and kept in a file."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from freelight.shards import Dataset, FreelightError
from freelight.train import Checkpoint
from freelight.train.evaluation import (
    EvaluationConfig,
    Predictions,
    ProbabilityPass,
    RankPass,
    evaluation_loader,
    join_predictions,
    predict_split,
    rank_labels,
    rank_split,
)
from freelight.train.evaluation.launching import pass_file, write_passes
from freelight.train.parallel.launch import launch


@pytest.fixture(scope="module")
def trained(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


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


def one_by_one(trained: Checkpoint, dataset: Dataset) -> torch.Tensor:
    """Look at the samples of val alone, in order: (samples, classes)."""
    network = trained.network()
    loader = evaluation_loader(trained, dataset, "val", views=1, batch_size=1)
    with torch.no_grad():
        return torch.cat([network(batch.images).softmax(dim=1) for batch in loader])


@pytest.mark.parametrize(("columns", "replicas", "batch_size"), [(1, 1, 7), (2, 1, 7), (1, 2, 19), (2, 2, 19)])
def test_each_sample_counts_once_and_alike_on_any_ranks(
    columns: int, replicas: int, batch_size: int, run: Path, trained: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    """20 samples in batches of 19 leave one, which three of four ranks do not have."""
    config = EvaluationConfig(
        checkpoints=(run / "last.pt",), shards=str(dataset.folder), split="val", views=1, batch_size=batch_size
    )

    def run_pass(function: Any) -> Path:
        work = functools.partial(write_passes, config, function, tmp_path)
        launch(work, columns=columns, replicas=replicas, backend="gloo")
        return pass_file(tmp_path, 0)

    probabilities = ProbabilityPass.load(run_pass(predict_split)).probabilities
    labels = dataset.split("val").samples["label"].astype(np.int64)
    np.testing.assert_allclose(probabilities, one_by_one(trained, dataset), rtol=0, atol=1e-5)
    ranked = RankPass.load(run_pass(rank_split)).ranked
    for name, value in vars(rank_labels(probabilities, labels)).items():
        np.testing.assert_allclose(getattr(ranked, name), value, rtol=0, atol=1e-6)


def test_a_network_of_float64_is_asked_in_float64(run: Path, trained: Checkpoint, dataset: Dataset) -> None:
    content = {**vars(trained), "recipe": trained.recipe.override(["precision=float64"])}
    found = predict_split(Checkpoint(**content), dataset, "val", views=1)
    assert found is not None
    np.testing.assert_allclose(found.probabilities, one_by_one(trained, dataset), rtol=0, atol=1e-5)


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
        ("train", 1, "another split: val, here train"),
        ("val", 10, "another views: 1, here 10"),
    ):
        with pytest.raises(FreelightError, match=message):
            held.check_source(dataset, split, views, tmp_path)


def test_joined_networks_stay_in_order(dataset: Dataset) -> None:
    parts = [predictions(dataset, np.full((20, 10), value), name) for name, value in (("a", 0.1), ("b", 0.2))]
    joined = join_predictions(parts)
    assert joined.names.tolist() == ["a", "b"]
    np.testing.assert_allclose(joined.probabilities[:, 0, 0], [0.1, 0.2])
