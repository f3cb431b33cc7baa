"""A pass over a split has every sample once on any number of ranks, with the same result from one or two columns."""

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from freelight.shards import Dataset
from freelight.train import Checkpoint
from freelight.train.evaluation import (
    EvaluationConfig,
    ProbabilityPass,
    Processes,
    RankPass,
    evaluation_loader,
    predict_networks,
    predict_split,
    rank_labels,
    rank_split,
)
from freelight.train.evaluation.launching import pass_file, write_passes
from freelight.train.parallel.launch import launch


@pytest.fixture(scope="module")
def trained(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def one_by_one(trained: Checkpoint, dataset: Dataset) -> torch.Tensor:
    """Evaluate the samples of val one by one, in order: (samples, classes)."""
    network = trained.network()
    loader = evaluation_loader(trained, dataset, "val", views=1, batch_size=1)
    with torch.no_grad():
        return torch.cat([network(batch.images).softmax(dim=1) for batch in loader])


def both_passes(config: EvaluationConfig, folder: Path, *process: Any) -> None:
    """Run both kinds of pass in the same processes, which take long to start."""
    for name, function in (("probabilities", predict_split), ("ranks", rank_split)):
        (folder / name).mkdir(exist_ok=True)
        write_passes(config, function, folder / name, *process)


@pytest.mark.parametrize(
    ("columns", "replicas", "batch_size"),
    [
        (1, 1, 7),
        pytest.param(2, 1, 7, marks=pytest.mark.slow),
        pytest.param(1, 2, 19, marks=pytest.mark.slow),
        pytest.param(1, 3, 4, marks=pytest.mark.slow),
        (2, 2, 7),
    ],
)
def test_each_sample_counts_once_and_with_the_same_bits_on_any_ranks(
    columns: int, replicas: int, batch_size: int, run: Path, trained: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    """20 samples are three batches of 7, of which one replica has two and the other one has the short one."""
    config = EvaluationConfig(
        checkpoints=(run / "last.pt",), shards=str(dataset.folder), split="val", views=1, batch_size=batch_size
    )
    work = functools.partial(both_passes, config, tmp_path)
    launch(work, columns=columns, replicas=replicas, backend="gloo", remedy="")
    probabilities = ProbabilityPass.load(pass_file(tmp_path / "probabilities", 0)).probabilities
    alone = predict_split(trained, dataset, "val", views=1, batch_size=batch_size)
    assert alone is not None
    np.testing.assert_array_equal(probabilities, alone.probabilities)
    np.testing.assert_allclose(probabilities, one_by_one(trained, dataset), rtol=0, atol=1e-5)
    ranked = RankPass.load(pass_file(tmp_path / "ranks", 0)).ranked
    labels = dataset.split("val").samples["label"].astype(np.int64)
    for name, value in vars(rank_labels(alone.probabilities, labels)).items():
        np.testing.assert_array_equal(getattr(ranked, name), value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a compiler")
def test_compiled_the_bits_are_the_same_on_any_ranks(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    config = EvaluationConfig(
        checkpoints=(run / "last.pt",), shards=str(dataset.folder), split="val", views=1, batch_size=7
    )
    found = []
    for columns, replicas in ((1, 1), (2, 2)):
        processes = Processes(columns=columns, replicas=replicas, compile_=True)
        (result,) = predict_networks(dataclasses.replace(config, processes=processes), dataset).probabilities
        found.append(result)
    np.testing.assert_array_equal(*found)
    (eager,) = predict_networks(config, dataset).probabilities
    np.testing.assert_allclose(found[0], eager, rtol=0, atol=1e-5)


def test_a_network_of_float64_is_asked_in_float64(run: Path, trained: Checkpoint, dataset: Dataset) -> None:
    content = {**vars(trained), "recipe": trained.recipe.override(["precision=float64"])}
    found = predict_split(Checkpoint(**content), dataset, "val", views=1)
    assert found is not None
    np.testing.assert_allclose(found.probabilities, one_by_one(trained, dataset), rtol=0, atol=1e-5)
