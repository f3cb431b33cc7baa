"""What the pipeline's tests share."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from freelight.shards import Dataset, Statistics


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
