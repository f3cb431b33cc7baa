"""Files of release 0.1 are still read: a dataset, a run that was stopped inside an epoch, and predictions.

`data/release-0.1/README.md` says how revision 2ff501f made them. A test that writes takes a copy.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from freelight.pipeline import Lighting, Loader, RandomCrop, Transform
from freelight.shards import Dataset, Rescaling, Statistics, verify_dataset
from freelight.train import Checkpoint, Predictions, predict_split
from freelight.train.cli import main
from freelight.train.inspection import extract_features, report

FILES = Path(__file__).parent / "data" / "release-0.1"
TRAIN = "--recipe source --epochs 3 --width 0.01 --no-compile --threads 1 --log-every 1 --keep 1"
SETTINGS = "--set crop_size=64 --set batch_size=2 --set learning_rate=0.001"


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(FILES / "dataset")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the run of 0.1."""
    return Path(shutil.copytree(FILES / "run", tmp_path / "run"))


def lines(path: Path) -> list[dict[str, Any]]:
    """Read metrics without times."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key and "wait" not in key} for line in found]


def test_the_dataset_verifies_and_keeps_its_fingerprint(dataset: Dataset) -> None:
    assert verify_dataset(dataset.folder, level="decode") == []
    assert dataset.fingerprint.startswith("095ca99e96d6")
    assert Statistics.load(dataset.folder).is_of(dataset, "train")


def test_the_loader_gives_the_batch_that_it_gave(dataset: Dataset) -> None:
    """The order, the crops, the flips and every decoded pixel."""
    transform = Transform(crop=RandomCrop(size=64), mean="none", lighting=Lighting(mode="off"), dtype="uint8")
    loader = Loader(dataset, "train", batch_size=8, transform=transform, extras=("samples",))
    images, labels, samples = next(iter(loader))
    assert samples.tolist() == [15, 12, 10, 19, 2, 11, 3, 8]
    assert labels.tolist() == [7, 9, 6, 7, 9, 5, 2, 0]
    pixels = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    assert pixels.startswith("bba9c1fa7fec0090"), "other pixels; if DALI's version changed, check that version first"


def test_a_checkpoint_evaluates_to_the_probabilities_that_were_kept(dataset: Dataset) -> None:
    kept = Predictions.load(FILES / "predictions.npz")
    trained = Checkpoint.load(FILES / "run" / "best.pt")
    found = predict_split(trained, dataset, "val", views=10)
    assert found is not None
    np.testing.assert_allclose(found.probabilities, kept.probabilities[0], rtol=1e-4)
    assert kept.labels.tolist() == [9, 8, 2, 6, 3, 0, 1, 5, 4, 7]
    assert (found.probabilities.argmax(axis=1) != kept.labels).mean() == 0.9
    assert trained.rescaling == Rescaling(size=66), "0.1 did not store it: the default"


def test_a_run_that_0_1_stopped_inside_an_epoch_ends_as_it_did_in_0_1(dataset: Dataset, run: Path) -> None:
    """It started on two columns, stopped after step 13 of 30, and resumes here in one process."""
    before = lines(run / "metrics.jsonl")
    words = ["--shards", str(dataset.folder), "--out", str(run), *TRAIN.split(), *SETTINGS.split()]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "after step 13" in result.output
    wanted = before + lines(FILES / "resumed.jsonl")
    found = lines(run / "metrics.jsonl")
    assert len(found) == len(wanted)
    for line, expected in zip(found, wanted, strict=True):
        assert line == pytest.approx(expected, rel=1e-3)
    assert Checkpoint.load(run / "last.pt").rescaling == Rescaling(size=66, quality=20), "the dataset's, from now on"


def test_feature_files_of_0_1_are_recognised(dataset: Dataset, tmp_path: Path) -> None:
    """The note beside the vectors names dataset and network as revision 2ff501f did, so they are not refused."""
    extract_features(Checkpoint.load(FILES / "run" / "best.pt"), dataset, "val", tmp_path)
    note = json.loads((tmp_path / "val.fc7.json").read_text())
    assert note["network"] == "640e5f47194b166bb1be0d87350f174fdacee390d3edee694f79373f69a9bcd5"
    assert note["dataset"] == dataset.fingerprint


def test_a_report_is_written_of_a_run(dataset: Dataset, run: Path) -> None:
    page = report(run, dataset)
    assert "3,140 parameters" in page
    assert "90.0" in page, "the validation error of the finished epoch"
