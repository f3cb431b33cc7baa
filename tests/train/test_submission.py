"""The challenge's file: one line per picture with five devkit numbers, in order of the pictures' names."""

import dataclasses
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from freelight.shards import Dataset, FreelightError
from freelight.train.evaluation.submission import class_numbers, write_submission

ORDER = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]


@pytest.fixture
def devkit(dataset: Dataset, tmp_path: Path) -> Path:
    """A devkit whose class number n is the dataset's label `ORDER[n - 1]`."""
    ids = [info.id for info in dataset.manifest.classes]
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, ids[label], "words", 0) for number, label in enumerate(ORDER, 1)]
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": np.array(rows, dtype=kinds)})
    path = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("meta.mat", meta.getvalue()), ("ILSVRC2012_validation_ground_truth.txt", b"1\n")):
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_lines_are_in_order_of_names_and_classes_as_the_devkit_numbers_them(
    dataset: Dataset, devkit: Path, tmp_path: Path
) -> None:
    split = dataset.split("val")
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), len(split)).astype(np.float32)
    write_submission(tmp_path / "out.txt", probabilities, split, class_numbers(dataset, split, devkit))
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert len(lines) == 20
    for line, source in zip(lines, sorted(split.sources), strict=True):
        row = probabilities[split.sources.index(source)]
        assert [ORDER[int(word) - 1] for word in line.split()] == sorted(range(10), key=lambda c: -row[c])[:5]


def test_labels_in_the_devkits_order_need_no_devkit(dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match=r"in wnid order.*give its archive, ILSVRC2012_devkit.*, as `devkit`"):
        class_numbers(dataset, dataset.split("val"), None)
    dataset.manifest = dataclasses.replace(dataset.manifest, label_order="ilsvrc")
    try:
        assert class_numbers(dataset, dataset.split("val"), None).tolist() == list(range(1, 11))
    finally:
        dataset.manifest = dataclasses.replace(dataset.manifest, label_order="wnid")


def test_a_devkit_that_is_none_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        FreelightError, match=r"`devkit` \(=.*none\) is not a file; give the challenge's ILSVRC2012_devkit"
    ):
        class_numbers(dataset, dataset.split("val"), tmp_path / "none")


def test_a_picture_that_is_not_there_would_shift_the_lines_after_it(dataset: Dataset, devkit: Path) -> None:
    split = dataset.split("val")
    split.info = dataclasses.replace(split.info, rejected=1)
    with pytest.raises(FreelightError, match=r"val lacks images \(1 were rejected, see rejected\.jsonl\)"):
        class_numbers(dataset, split, devkit)
    dataset.manifest.made_with["limit"] = 20
    try:
        with pytest.raises(FreelightError, match="made with make_shards --limit 20"):
            class_numbers(dataset, dataset.split("val"), devkit)
    finally:
        dataset.manifest.made_with["limit"] = None
