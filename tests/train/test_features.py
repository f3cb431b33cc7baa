"""Features are the network's, row by row; a stopped extraction resumes and never counts as finished."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from freelight.shards import Dataset, FreelightError, Statistics
from freelight.train import Checkpoint
from freelight.train.inspection import extract_features, open_features
from freelight.train.inspection import vector_file as module


@pytest.fixture(scope="module")
def trained(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def plain_features(trained: Checkpoint, dataset: Dataset, split: str) -> np.ndarray:
    """Run Pillow's centre crops one by one, and return the inputs of fc8."""
    network, seen = trained.network(), []
    network.get_submodule("fc8").register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    mean, samples = Statistics.load(dataset.folder).mean_image, dataset.split(split)
    with torch.no_grad():
        for index in range(len(samples)):
            image = np.asarray(Image.open(io.BytesIO(samples.read(index))), np.float32) - mean
            network(torch.from_numpy(image[16:240, 16:240].transpose(2, 0, 1)[None].copy()))
    return torch.cat(seen).numpy()


def test_features_are_what_the_last_layer_sees_at_test(trained: Checkpoint, dataset: Dataset, tmp_path: Path) -> None:
    found = extract_features(trained, dataset, "val", tmp_path / "new", batch_size=8)
    assert isinstance(found, np.memmap)
    np.testing.assert_allclose(found, plain_features(trained, dataset, "val"), rtol=1e-4, atol=1e-5)


def test_pixels_are_block_means_of_the_centre_crop(trained: Checkpoint, dataset: Dataset, tmp_path: Path) -> None:
    found = extract_features(trained, dataset, "val", tmp_path, space="pixels")
    mean = Statistics.load(dataset.folder).mean_image
    image = np.asarray(Image.open(io.BytesIO(dataset.split("val").read(3))), np.float32) - mean
    blocks = image[16:240, 16:240].reshape(32, 7, 32, 7, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(found[3], blocks.ravel(), rtol=1e-4, atol=1e-3)


def stop_after(batches: int) -> object:
    def watch(counts: Iterable[int], total: int) -> Iterator[int]:
        for number, count in enumerate(counts, 1):
            yield count
            if number == batches:
                raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("batches", [1, 3, 5])
def test_a_stopped_extraction_has_no_file_and_goes_on_to_the_same_rows(
    batches: int, trained: Checkpoint, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after 1, 3 or 5 of 5 batches; progress is saved after every second batch."""
    monkeypatch.setattr(module, "BATCHES", 2)
    whole = extract_features(trained, dataset, "val", tmp_path / "whole", space="pixels", batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        extract_features(
            trained, dataset, "val", tmp_path / "part", space="pixels", batch_size=4, watch=stop_after(batches)
        )
    assert not list((tmp_path / "part").glob("*.npy"))
    counts: list[int] = []

    def count(items: Iterable[int], total: int) -> Iterator[int]:
        assert total == 20
        for item in items:
            counts.append(item)
            yield item

    again = extract_features(trained, dataset, "val", tmp_path / "part", space="pixels", batch_size=4, watch=count)
    np.testing.assert_array_equal(again, whole)
    assert sum(counts) == 20
    assert counts[0] == {1: 4, 3: 8, 5: 16}[batches], "what was noted is not done again"
    extract_features(trained, dataset, "val", tmp_path / "part", space="pixels", watch=stop_after(1))  # nothing to do


def test_features_of_another_network_or_dataset_are_refused(
    trained: Checkpoint, two_column_run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    extract_features(trained, dataset, "val", tmp_path)
    other = Checkpoint.load(two_column_run / "last.pt")
    changed = Checkpoint(**{**vars(other), "weights": {k: v * 2 for k, v in other.weights.items()}})
    with pytest.raises(
        FreelightError, match=r"val\.fc7\.npy is for another network; give another folder as `features`"
    ):
        extract_features(changed, dataset, "val", tmp_path)
    with pytest.raises(FreelightError, match=r"`space` \(=fc6\) must be one of fc7, pixels"):
        extract_features(trained, dataset, "val", tmp_path, space="fc6")  # type: ignore[arg-type]


def test_a_link_in_the_place_of_unfinished_rows_is_not_written_through(
    trained: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("do not lose me")
    (tmp_path / "features").mkdir()
    (tmp_path / "features/val.pixels.npy.partial").symlink_to(tmp_path / "other")
    with pytest.raises(FreelightError, match=r"val\.pixels\.npy\.partial is a symbolic link; delete it"):
        extract_features(trained, dataset, "val", tmp_path / "features", space="pixels")
    assert (tmp_path / "other").read_text() == "do not lose me"


def test_a_file_that_is_no_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"not an array")
    with pytest.raises(FreelightError, match=r"x\.npy is not an array of numpy.save; delete it"):
        open_features(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (b"", "is not valid JSON"),
        (b"[1]", r"the content \(=\[1\]\) must be an object"),
        ({"done": -1}, r"done \(=-1\) must be an integer in 0\.\.20"),
        ({"done": 21}, r"done \(=21\) must be an integer in 0\.\.20"),
        ({"done": None}, r"done \(=None\) must be an integer"),
        ({"network": 3}, r"network \(=3\) must be a string"),
        ({"more": 3}, "more is unknown to this version"),
    ],
)
def test_a_damaged_note_is_named(
    note: bytes | dict[str, Any], message: str, trained: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    extract_features(trained, dataset, "val", tmp_path, space="pixels")
    path = tmp_path / "val.pixels.json"
    changed = note if isinstance(note, bytes) else json.dumps({**json.loads(path.read_text()), **note}).encode()
    path.write_bytes(changed)
    with pytest.raises(FreelightError, match=rf"{path}:? ?{message}.*; delete it and extract the features again"):
        extract_features(trained, dataset, "val", tmp_path, space="pixels")


@pytest.mark.parametrize("name", ["val.pixels.npy", "val.pixels.npy.partial"])
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((19, 3072), np.float32), r"has the shape \(19, 3072\), not \(20, 3072\)"),
        (np.zeros((20, 3072)), "holds .*f8.*, not float32"),
        (np.zeros(61440, np.float32), r"has the shape \(61440,\)"),
    ],
)
def test_vectors_of_another_shape_or_type_are_named(
    name: str, vectors: np.ndarray, message: str, trained: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    extract_features(trained, dataset, "val", tmp_path, space="pixels")
    (tmp_path / "val.pixels.npy").unlink()
    with (tmp_path / name).open("wb") as file:
        np.save(file, vectors)
    with pytest.raises(FreelightError, match=rf"{tmp_path}/{name} {message}"):
        extract_features(trained, dataset, "val", tmp_path, space="pixels")


KILLED = """
import os, signal, sys
from pathlib import Path
from freelight.shards import Dataset
from freelight.train import Checkpoint
from freelight.train.inspection import features

features.BATCHES = 2

def watch(counts, total):
    for number, count in enumerate(counts, 1):
        yield count
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

checkpoint, shards, folder = map(Path, sys.argv[1:])
trained = Checkpoint.load(checkpoint)
features.extract_features(trained, Dataset(shards), "val", folder, space="fc7", batch_size=4, watch=watch)
"""


@pytest.mark.slow
def test_an_extraction_that_was_killed_goes_on_to_the_same_rows(
    run: Path, trained: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    """By SIGKILL, after three of five batches."""
    words = [sys.executable, "-c", KILLED, run / "last.pt", dataset.folder, tmp_path / "killed"]
    killed = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list((tmp_path / "killed").glob("*.npy"))
    again = extract_features(trained, dataset, "val", tmp_path / "killed", batch_size=4)
    np.testing.assert_array_equal(again, extract_features(trained, dataset, "val", tmp_path / "whole", batch_size=4))
