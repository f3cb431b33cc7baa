"""What the pipeline's tests share."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graph_oracle import FULL, SMALL, Pictures
from nvidia.dali import Pipeline
from PIL import Image

from freelight.pipeline import Transform, define_pipeline
from freelight.shards import (
    Dataset,
    Rescaling,
    ShardSettings,
    Split,
    Statistics,
    compute_statistics,
    list_images,
    make_shards,
)


@pytest.fixture(scope="session")
def statistics(dataset: Dataset) -> Statistics:
    return Statistics.load(dataset.folder)


@pytest.fixture(scope="session")
def decoded(dataset: Dataset) -> dict[str, npt.NDArray[np.uint8]]:
    """Every picture of each split, decoded by Pillow: uint8 (samples, 256, 256, 3)."""
    pictures = {}
    for name in dataset.manifest.splits:
        split = dataset.split(name)
        pictures[name] = np.stack([np.asarray(Image.open(io.BytesIO(split.read(i)))) for i in range(len(split))])
    return pictures


@pytest.fixture(scope="session")
def sized(
    pictures: Path,
    dataset: Dataset,
    statistics: Statistics,
    decoded: dict[str, npt.NDArray[np.uint8]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[int, Pictures]:
    """The pictures for crops of each size."""
    source = list_images(pictures, val_fraction=None, class_names=pictures / "class-names.tsv", seed=0)
    folder = tmp_path_factory.mktemp("small") / "dataset"
    make_shards(source, folder, ShardSettings(rescaling=Rescaling(size=64)))
    small = Dataset(folder)
    split = small.split("train")
    train = np.stack([np.asarray(Image.open(io.BytesIO(split.read(i)))) for i in range(len(split))])
    return {
        SMALL: Pictures(dataset=small, statistics=compute_statistics(small), decoded=train),
        FULL: Pictures(dataset=dataset, statistics=statistics, decoded=decoded["train"]),
    }


@pytest.fixture
def read_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read every sample by `Split.read`, as a damaged one, for tests that replace it."""
    monkeypatch.setattr(Split, "read_all", lambda self, indices, memory: [None] * len(indices))


@pytest.fixture
def output_devices(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Define a transform's graph for a GPU, which needs none, and return the device of each of its outputs."""

    def define(transform: Transform, statistics: Statistics | None = None, **settings: Any) -> list[str]:
        outputs: list[Any] = []
        monkeypatch.setattr(Pipeline, "set_outputs", lambda self, *nodes: outputs.extend(nodes))
        define_pipeline(
            transform,
            source=lambda: [],  # noqa: PIE807
            image_size=256,
            statistics=statistics,
            batch_size=4,
            num_threads=1,
            prefetch=2,
            device_id=0,
            **settings,
        )
        return [node.device for node in outputs]

    return define
