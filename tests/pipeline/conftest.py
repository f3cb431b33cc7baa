"""What the pipeline's tests share."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nvidia.dali import Pipeline
from PIL import Image

from freelight.pipeline import Transform, define_pipeline
from freelight.shards import Dataset, Split, Statistics


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
