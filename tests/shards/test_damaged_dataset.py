"""A manifest or table that does not fit is one line that names file, field and value, though its hashes are right."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError, verify_dataset

Content = dict[str, Any]


@pytest.fixture
def folder(dataset: Dataset, tmp_path: Path) -> Path:
    """A copy without tars, to be damaged."""
    return Path(shutil.copytree(dataset.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.tar")))


def seal(folder: Path, change: Callable[[Content], object] = lambda content: None) -> None:
    """Change the manifest, and make every hash of tables and of the manifest right again."""
    content = json.loads((folder / "dataset.json").read_text())
    for split in content["splits"].values():
        for name in split["files"]:
            if (folder / name).is_file():
                split["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change(content)
    del content["sha256"]
    content["sha256"] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    (folder / "dataset.json").write_text(json.dumps(content, indent=1) + "\n")


def put(value: Any, *place: str | int) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value

    return change


def drop(*place: str | int) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]

    return change


SHARD = ("splits", "val", "shards", 1)


def deep(levels: int) -> list[Any]:
    """Return a list in a list in a list."""
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(None, "classes"), r"classes \(=None\) must be a list"),
        (put("n01", "classes", 2), r"classes\[2\] \(='n01'\) must be an object"),
        (put("", "classes", 2, "id"), r"classes\[2\]\.id \(=''\) must be a string that is not empty"),
        (put("n90000001", "classes", 2, "id"), r"classes\[2\]\.id \(='n90000001'\) must be unique"),
        (put(7, "classes", 0, "name"), r"classes\[0\]\.name \(=7\) must be a string"),
        (put([7], "source", "notes"), r"source\.notes\[0\] \(=7\) must be a string"),
        (put("devkit", "label_order"), r"label_order \(='devkit'\) must be one of wnid, ilsvrc"),
        (put(0, "image_size"), r"image_size \(=0\) must be an integer in 1\.\.65500"),
        (put(256.0, "image_size"), r"image_size \(=256\.0\) must be an integer"),
        (put(10**9, "image_size"), r"image_size \(=1000000000\) must be an integer"),
        (put([], "made_with"), r"made_with \(=\[\]\) must be an object"),
        (put("90", "made_with", "quality"), r"made_with\.quality \(='90'\) must be an integer in 1\.\.100"),
        (put(deep(900), "made_with", "x"), r"made_with \(=.*\) must be at most 32 levels deep"),
        (drop("made_with", "limit"), r"made_with\.limit is missing"),
        (put(None, "splits", "val"), r"splits\.val \(=None\) must be an object"),
        (drop("splits", "val", "kinds"), r"splits\.val\.kinds is missing"),
        (put(2**31, "splits", "val", "samples"), r"splits\.val\.samples \(=2147483648\) must be an integer"),
        (put(0, "splits", "val", "shards", 0, "samples"), r"shards\[0\]\.samples \(=0\) must be an integer in 1\.\."),
        (put(21, "splits", "val", "samples"), r"splits\.val\.samples \(=21\) must be 20, the sum over its shards"),
        (put({"colour": 3}, "splits", "val", "kinds"), r"splits\.val\.samples \(=20\) must be 3, .* its kinds"),
        (put("yes", "splits", "val", "labelled"), r"splits\.val\.labelled \(='yes'\) must be true or false"),
        (put({"min": 1}, "splits", "val", "per_class"), r"splits\.val\.per_class\.max is missing"),
        (put(-1, "splits", "val", "rejected"), r"splits\.val\.rejected \(=-1\) must be an integer"),
        (put(-1, *SHARD, "bytes"), r"splits\.val\.shards\[1\]\.bytes \(=-1\) must be an integer"),
        (put("x", *SHARD, "sha256"), r"splits\.val\.shards\[1\]\.sha256 \(='x'\) must be a sha256"),
        (put("val-000000.tar", *SHARD, "name"), r"shards\[1\]\.name \(='val-000000.tar'\) must be unique"),
        (
            put("dataset.json", *SHARD, "name"),
            r"shards\[1\]\.name \(='dataset.json'\) must be the name of a \.tar file",
        ),
        (put(7, "splits", "val", "files", "val-000000.idx"), r"files\.val-000000\.idx \(=7\) must be a sha256"),
        (put("0" * 64, "files", "val-000000.tar"), r"name \(='val-000000\.tar'\) must be unique"),
        (put(1, "more"), "more is unknown to this version"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    change: Callable[[Content], object], message: str, dataset: Dataset, tmp_path: Path
) -> None:
    shutil.copy(dataset.folder / "dataset.json", tmp_path)
    seal(tmp_path, change)
    with pytest.raises(
        FreelightError, match=rf"dataset\.json: .*{message}.*; copy it back, or make the dataset again$"
    ):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "wanted"),
    [
        ("shard", 0, "must be 1"),
        ("shard", 2**32 - 1, "must be 1"),
        ("offset", 0, r"must lie in 1536\.\."),
        ("offset", 2**40, r"must lie in 1536\.\."),
        ("offset", 2**64 - 1, r"must lie in 1536\.\."),
        ("length", 0, r"must lie in 1\.\.134217728"),
        ("length", 2**32 - 1, r"must lie in 1\.\.134217728"),
        ("label", 10, r"must lie in 0\.\.9"),
        ("label", -1, r"must lie in 0\.\.9"),
    ],
)
def test_a_row_that_does_not_fit_the_manifest_is_named(column: str, value: int, wanted: str, folder: Path) -> None:
    table = np.load(folder / "val.samples.npy")
    table[column][17] = value
    np.save(folder / "val.samples.npy", table)
    seal(folder)
    with pytest.raises(FreelightError, match=rf"val\.samples\.npy: row 17: {column} \(={value}\) {wanted}.*; copy it"):
        Dataset(folder).split("val")


def test_a_split_without_labels_may_have_none(folder: Path) -> None:
    table = np.load(folder / "val.samples.npy")
    table["label"] = -1
    np.save(folder / "val.samples.npy", table)
    seal(folder, put(False, "splits", "val", "labelled"))
    assert len(Dataset(folder).split("val")) == 20
    table["label"][3] = -2
    np.save(folder / "val.samples.npy", table)
    seal(folder)
    with pytest.raises(FreelightError, match=r"row 3: label \(=-2\) must lie in -1\.\.9"):
        Dataset(folder).split("val")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", r"val-000001\.idx is not an index of 4 samples"),
        (lambda data: b"\xff\xfe\x00", "is not an index of 4 samples"),
        (lambda data: data.replace(b"v1.2 4", b"v1.2 5"), "is not an index of 4 samples"),
        (lambda data: data[:-30], "is not an index of 4 samples"),
        (lambda data: data + b"\n", "is not an index of 4 samples"),
        (lambda data: data * 9, "has more than .* bytes"),
        (lambda data: data.replace(b".cls jpg", b".cls\xa0jpg", 1), r"val-000001\.idx:2: 'cls .*' is not a line"),
        (lambda data: data.replace(b"cls ", b"cls -", 1), r"val-000001\.idx:2: 'cls -.*' is not a line"),
    ],
)
def test_a_damaged_index_is_one_line_and_other_errors_do_without_it(
    damage: Callable[[bytes], bytes], message: str, folder: Path
) -> None:
    path = folder / "val-000001.idx"
    path.write_bytes(damage(path.read_bytes()))
    split = Dataset(folder).split("val")
    assert split.key(0) == "val-00000000"
    with pytest.raises(FreelightError, match=rf"{message}.*; copy it back, or make the dataset again$"):
        split.key(19)
    assert split.describe(19) == f"{folder}/val-000001.tar: sample in row 19 (from {split.sources[19]})"


def test_a_list_of_sources_of_another_length_is_one_line(folder: Path) -> None:
    path = folder / "val.sources.txt"
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    split = Dataset(folder).split("val")
    with pytest.raises(FreelightError, match=r"val\.sources\.txt has 19 lines, but the split has 20 samples; copy it"):
        _ = split.sources
    assert split.describe(19).endswith("(from an unknown source)")


@pytest.mark.parametrize("name", ["val-000001.idx", "val.sources.txt", "val.samples.npy", "dataset.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_waited_for(make: Callable[[Path], None], name: str, folder: Path) -> None:
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(FreelightError, match=rf"{name} is not a regular file"):
        _ = [Dataset(folder).split("val").key(19), Dataset(folder).split("val").sources]


def test_verification_names_each_fault_in_a_line(dataset_copy: Dataset) -> None:
    """A manifest that is damaged, an index and sources that do not fit, whose hashes are right."""
    folder = dataset_copy.folder
    index = folder / "val-000001.idx"
    index.write_bytes(index.read_bytes().replace(b"cls ", b"cls -", 1))
    sources = folder / "train.sources.txt"
    sources.write_bytes(b"x\n" + sources.read_bytes())
    seal(folder)
    found = verify_dataset(folder)
    length = dataset_copy.split("val").samples["length"][16]
    assert [line.split(";")[0] for line in found] == [
        f"{sources} has 61 lines, but the split has 60 samples",
        f"{index}:2: 'cls -512 5 val-00000016.cls jpg 1536 {length} val-00000016.jpg'"
        " is not a line of DALI's index v1.2",
    ]
    seal(folder, put(-1, "image_size"))
    (line,) = verify_dataset(folder)
    assert "image_size (=-1) must be an integer" in line
