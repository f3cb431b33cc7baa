"""The dataset of the frameworks' tests."""

import pytest

from freelight.benchmarks.repeated import repeat_samples
from freelight.shards import Dataset


@pytest.fixture(scope="session")
def dataset_400(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """400 samples of train: in batches of 57, seven steps and one of a single sample."""
    return repeat_samples(dataset, "train", 400, tmp_path_factory.mktemp("repeated") / "dataset")
