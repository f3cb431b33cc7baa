"""What the pipeline's tests share."""

import io
import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from freelight.pipeline import Batch
from freelight.shards import Dataset, Split, Statistics


@pytest.fixture(scope="session")
def statistics(dataset: Dataset) -> Statistics:
    return Statistics.load(dataset.folder)


@pytest.fixture(scope="session")
def decoded(dataset: Dataset) -> dict[str, npt.NDArray[np.uint8]]:
    """Every picture of each split, decoded by Pillow: uint8 (samples, 256, 256, 3)."""
    return {name: np.stack([decode(split, i) for i in range(len(split))]) for name, split in splits(dataset).items()}


def splits(dataset: Dataset) -> dict[str, Split]:
    return {name: dataset.split(name) for name in dataset.manifest.splits}


def decode(split: Split, index: int) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(split.read(index))))


@pytest.fixture(scope="session")
def seen() -> "type[Seen]":
    return Seen


class Seen(dict[int, tuple[int, int]]):
    """What batches held: the label and a checksum of the pixels, by sample. A sample that comes twice is a failure."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        super().__init__()
        for batch in batches:
            self.add(batch)

    def add(self, batch: Batch) -> None:
        assert len(batch.images) == len(batch.labels) == len(batch.samples)
        for image, label, sample in zip(batch.images, batch.labels, batch.samples, strict=True):
            assert int(sample) not in self, f"sample {sample} came twice"
            self[int(sample)] = (int(label), zlib.crc32(image.contiguous().numpy()))
