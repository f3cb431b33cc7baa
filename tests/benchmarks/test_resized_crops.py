"""What random resized crops are compared on: plain DALI's graphs, and ImageNet's size and time in each geometry."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from freelight.benchmarks.dali_augmentations import augmenting_graph
from freelight.benchmarks.geometries import GEOMETRIES, Made, geometry_rows
from freelight.benchmarks.loader_graphs import decoding_graph

COLOURS = np.random.default_rng(0).integers(0, 256, (11, 3))
SIZES = [(40 + 13 * number, 150 - 9 * number) for number in range(11)]


@pytest.fixture(scope="module")
def jpegs() -> list[npt.NDArray[np.uint8]]:
    """Pictures of one colour each, of different sizes: any crop of one has its colour."""
    encoded = []
    for colour, size in zip(COLOURS, SIZES, strict=True):
        buffer = io.BytesIO()
        Image.new("RGB", size, tuple(colour.tolist())).save(buffer, "JPEG", quality=95)
        encoded.append(np.frombuffer(buffer.getvalue(), np.uint8))
    return encoded


def test_plain_dali_crops_and_normalises_each_image_once_an_epoch(jpegs: list[npt.NDArray[np.uint8]]) -> None:
    mean, std = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
    epoch = augmenting_graph(jpegs, 4, "plain", mean, std)
    for _ in range(2):
        images = np.concatenate([batch.numpy().copy() for batch in epoch()])
        assert (images.shape, images.dtype) == ((11, 3, 224, 224), np.float32)
        expected = ((COLOURS - mean) / std)[:, :, None, None]
        assert (np.abs(images - expected) <= (2 / np.array(std))[:, None, None]).all()


@pytest.mark.parametrize("window", [False, True])
def test_decoding_alone_gives_whole_images_or_windows(window: bool, jpegs: list[npt.NDArray[np.uint8]]) -> None:
    shapes = [
        images.at(place).shape for images in decoding_graph(jpegs, 4, window=window)() for place in range(len(images))
    ]
    whole = [(height, width, 3) for width, height in SIZES]
    if not window:
        assert shapes == whole
        return
    areas = [np.prod(shape) / np.prod(full) for shape, full in zip(shapes, whole, strict=True)]
    assert all(0 < area <= 1 for area in areas)
    assert np.mean(areas) < 0.9


def test_imagenet_takes_as_much_per_image_as_the_measured_ones() -> None:
    """1,331,167 images of 50 kB are 66.6 GB; at 200 images/s they take 1.85 hours."""
    made = Made(folder=Path(), samples=100, bytes=5_000_000, rate=200.0, workers=2)
    assert made.describe() == "100 samples of 50.0 kB in the shards, made at 200 images/s by 2 workers"
    text = geometry_rows({"original": made}, {"original": (1234.5, None)})
    first, *_, row = text.splitlines()
    assert first == "For 1,331,167 images, calculated from 100; 2 workers make them:"
    assert row == f"| original | 67 | 1.8 | 1,234 | - | {GEOMETRIES['original'].use} |"
