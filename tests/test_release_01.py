"""Files of release 0.1 are still read: two datasets, one half-made, a run stopped inside an epoch, and predictions.

`data/release-0.1/README.md` says how revision 2ff501f made them. A test that writes takes a copy.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from freelight.demo.drawing import draw_pictures
from freelight.pipeline import Lighting, Loader, RandomCrop, Transform
from freelight.shards import (
    Dataset,
    Manifest,
    Rescaling,
    ShardSettings,
    Source,
    Statistics,
    compute_statistics,
    list_images,
    make_shards,
    verify_dataset,
)
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


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """The pictures of both datasets, drawn again; skip if other libraries would give other bytes."""
    plan = json.loads((FILES / "half-made" / ".partial" / "plan.json").read_text())
    now = ShardSettings().made_with()
    for library in ("pillow", "jpeg_decoder", "libjpeg"):
        if plan[library] != now[library]:
            pytest.skip(f"made with {library} {plan[library]}, not {now[library]}")
    draw_pictures(tmp_path / "pictures", train_per_class=2, val_per_class=1)
    for path in (tmp_path / "pictures").rglob("*"):
        os.utime(path, (0, 0))
    return list_images(tmp_path / "pictures", class_names=tmp_path / "pictures" / "class-names.tsv")


def settings(samples_per_shard: int) -> ShardSettings:
    return ShardSettings(rescaling=Rescaling(size=66, quality=20), samples_per_shard=samples_per_shard)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def lines(path: Path) -> list[dict[str, Any]]:
    """Read metrics without times."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key and "wait" not in key} for line in found]


def test_the_dataset_verifies_and_keeps_its_fingerprint(dataset: Dataset) -> None:
    assert verify_dataset(dataset.folder, level="decode") == []
    assert dataset.fingerprint.startswith("095ca99e96d6")
    assert Statistics.load(dataset.folder).is_of(dataset, "train")


def test_its_statistics_are_computed_again_to_the_bit(dataset: Dataset) -> None:
    """The eigenbasis may differ in the last digits, on another processor."""
    kept, found = Statistics.load(dataset.folder), compute_statistics(dataset)
    for name in ("mean_image", "mean", "covariance", "pixels", "images"):
        assert np.array_equal(getattr(found, name), getattr(kept, name)), f"{name}: other pixels, or other sums"
    np.testing.assert_allclose(found.eigenvectors, kept.eigenvectors, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues, kept.eigenvalues, rtol=1e-12)


def test_the_dataset_is_accepted_as_it_is_by_the_command_that_made_it(source: Source, tmp_path: Path) -> None:
    copy = shutil.copytree(FILES / "dataset", tmp_path / "copy")
    assert make_shards(source, copy, settings(12)) == Manifest.load(FILES / "dataset")
    assert hashes(copy) == hashes(FILES / "dataset")


def test_squares_have_the_pixels_labels_and_order_of_0_1(source: Source, dataset: Dataset, tmp_path: Path) -> None:
    """Apart from the keys, which schema 2 changed."""
    made = make_shards(source, tmp_path / "made", settings(12))
    assert made.schema == 2
    for name in dataset.manifest.splits:
        before, now = dataset.split(name), Dataset(tmp_path / "made").split(name)
        for column in ("shard", "label", "crc32"):
            assert np.array_equal(now.samples[column], before.samples[column])
        assert now.sources == before.sources
        assert [now.read(index) for index in range(len(now))] == [before.read(index) for index in range(len(before))]


def test_a_dataset_that_0_1_left_half_made_is_finished_with_its_bytes(source: Source, tmp_path: Path) -> None:
    out = shutil.copytree(FILES / "half-made", tmp_path / "out")
    written = (out / "train-000000.tar").stat().st_mtime_ns
    assert make_shards(source, out, settings(6)).schema == 1
    expected = dict(line.split()[::-1] for line in (FILES / "half-made.sha256").read_text().splitlines())
    assert hashes(out) == expected
    assert (out / "train-000000.tar").stat().st_mtime_ns == written, "a finished shard was made again"


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
