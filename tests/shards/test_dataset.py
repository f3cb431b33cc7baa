"""A finished dataset is read with checks: errors name what is damaged or missing, down to the sample."""

import json
import os
import pickle
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError
from freelight.shards.dataset import SAMPLE, Split


def test_any_sample_is_one_pread_away(dataset: Dataset) -> None:
    """The table's offsets are positions in the tar, so no tar reader is needed."""
    split = dataset.split("train")
    for index in (0, 17, 59):
        row = split.samples[index]
        data = (dataset.folder / dataset.manifest.splits["train"].shards[row["shard"]].name).read_bytes()
        jpeg = data[int(row["offset"]) : int(row["offset"]) + int(row["length"])]
        assert jpeg == split.read(index)
        assert jpeg.startswith(b"\xff\xd8")
        assert jpeg.endswith(b"\xff\xd9")
        assert zlib.crc32(jpeg) == row["crc32"]


def test_the_table_is_plain_numpy_with_one_row_a_sample_in_shard_order(dataset: Dataset) -> None:
    table = np.load(dataset.folder / "train.samples.npy", allow_pickle=False)
    assert table.dtype == SAMPLE
    assert len(table) == len(dataset.split("train")) == len(dataset.split("train").sources) == 60
    assert np.bincount(table["shard"]).tolist() == [s.samples for s in dataset.manifest.splits["train"].shards]
    assert np.all(np.diff(table["shard"].astype(int)) >= 0)


def test_the_key_of_a_sample_is_its_name_in_the_tar_also_counted_from_the_end(dataset: Dataset) -> None:
    split = dataset.split("val")
    names = []
    for shard in dataset.manifest.splits["val"].shards:
        with tarfile.open(dataset.folder / shard.name) as tar:
            names += [member.name for member in tar if member.name.endswith(".jpg")]
    assert [f"{split.key(index)}.jpg" for index in range(20)] == names
    assert f"{split.key(-1)}.jpg" == names[-1]
    with pytest.raises(IndexError):
        split.key(20)


def test_shards_that_a_cache_has_deleted_are_not_kept_open(dataset: Dataset, tmp_path: Path) -> None:
    """They would take room on its disk beyond its limit."""
    limit = max(shard.bytes for shard in dataset.manifest.splits["train"].shards)
    split = Dataset(dataset.folder.as_uri(), cache=tmp_path, cache_bytes=limit).split("train")
    for index in (0, 59, 30, 1):
        assert split.read(index) == dataset.split("train").read(index)
        opened = [os.readlink(f"/proc/self/fd/{number}") for number in split._descriptors.values()]
        assert opened == [str(split.folder / split.info.shards[int(split.samples["shard"][index])].name)]


# What is damaged.


def sample_in_shard(split: Split, shard: int, place: int) -> int:
    return int(np.flatnonzero(split.samples["shard"] == shard)[place])


def flip_a_byte(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("place_in_jpeg", [0.0, 0.5, 0.999])
def test_a_flipped_byte_names_shard_key_and_source_and_leaves_the_others_readable(
    place_in_jpeg: float, dataset_copy: Dataset
) -> None:
    split = dataset_copy.split("train")
    bad = sample_in_shard(split, 2, 5)
    shard = dataset_copy.folder / "train-000002.tar"
    row = split.samples[bad]
    flip_a_byte(shard, int(row["offset"]) + int(place_in_jpeg * int(row["length"])))
    with pytest.raises(FreelightError, match="changed") as caught:
        split.read(bad)
    remedy = f"freelight make-shards --images IMAGES --out {dataset_copy.folder} --repair"
    for part in (str(shard), split.key(bad), split.sources[bad], remedy):
        assert part in str(caught.value)
    for index in range(len(split)):
        if index != bad:
            assert split.read(index).startswith(b"\xff\xd8")


def test_a_shard_cut_short_is_an_error_not_a_crash(dataset_copy: Dataset) -> None:
    """A mapped file would end the process with SIGBUS."""
    split = dataset_copy.split("train")
    before, within, after = (sample_in_shard(split, 1, place) for place in (6, 7, 8))
    row = split.samples[within]
    shard = dataset_copy.folder / "train-000001.tar"
    split.read(after)
    os.truncate(shard, int(row["offset"]) + 100)
    assert split.read(before).startswith(b"\xff\xd8")
    for index, found in ((within, 100), (after, 0)):
        length = int(split.samples["length"][index])
        with pytest.raises(FreelightError, match=rf"cut short \({found} of {length} bytes\)") as caught:
            split.read(index)
        for part in (str(shard), split.key(index), split.sources[index]):
            assert part in str(caught.value)


def test_a_missing_shard_is_named(dataset_copy: Dataset) -> None:
    (dataset_copy.folder / "val-000001.tar").unlink()
    split = dataset_copy.split("val")
    assert split.read(0)
    with pytest.raises(FreelightError, match=r"val-000001\.tar is missing, though the manifest lists it"):
        split.read(len(split) - 1)


def edit_manifest(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / "dataset.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


ESCAPES = ["../up", "/etc/passwd", "/../../home/.bash_login", ".hidden", "a/b", "a\\b", "", "nul\0", "new\nline", "ä"]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        *((place, name) for place in ("files", "splits", "split files") for name in ESCAPES),
        *(("shard", name) for name in (*ESCAPES, 7)),
    ],
)
def test_a_name_that_could_leave_the_folder_is_refused(place: str, name: object, dataset_copy: Dataset) -> None:
    def change(content: dict[str, object]) -> None:
        splits: dict[str, dict[str, object]] = content["splits"]  # type: ignore[assignment]
        if place == "files":
            content["files"][name] = "0" * 64  # type: ignore[index]
        elif place == "splits":
            splits[name] = splits["val"]  # type: ignore[index]
        elif place == "split files":
            splits["val"]["files"][name] = "0" * 64  # type: ignore[index]
        else:
            splits["val"]["shards"][0]["name"] = name  # type: ignore[index]

    edit_manifest(change)(dataset_copy.folder)
    with pytest.raises(FreelightError, match=r"dataset\.json: .*(files|splits).* must be a name .* leading dot"):
        Dataset(dataset_copy.folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), "is not a finished dataset .* --out {folder}"),
        (lambda folder: (folder / "dataset.json").write_text("{"), "is not valid JSON .* make the dataset again"),
        (
            edit_manifest(lambda content: content.update(schema=99)),
            "has schema 99, but this version reads only 1 and 2",
        ),
        (edit_manifest(lambda content: content.pop("schema")), "has schema None"),
        (lambda folder: (folder / "dataset.json").write_text("[]"), r"the content \(=\[\]\) must be an object"),
        (lambda folder: (folder / "dataset.json").write_bytes(b"\xff"), "is not valid JSON"),
        (
            edit_manifest(lambda content: content.pop("splits")),
            r"dataset\.json: splits is missing; .*make the dataset again",
        ),
        (edit_manifest(lambda content: content.update(more=1)), r"dataset\.json: more is unknown to this version"),
        (lambda folder: (folder / "train.samples.npy").unlink(), r"train\.samples\.npy is missing; .*make"),
        (lambda folder: os.truncate(folder / "train.samples.npy", 0), r"samples\.npy is not an array .*make"),
        (lambda folder: os.truncate(folder / "train.samples.npy", 500), r"samples\.npy does not have the bytes .*make"),
        (
            lambda folder: (folder / "train.samples.npy").write_bytes(b"x" * 900),
            r"samples\.npy is not an array .*make",
        ),
        (
            lambda folder: np.save(folder / "train.samples.npy", np.zeros(59, SAMPLE)),
            r"has the shape \(59,\), not \(60\)",
        ),
        (lambda folder: np.save(folder / "train.samples.npy", np.zeros(60)), r"holds '<f8', not .*'crc32'"),
    ],
    ids=[
        "no-manifest",
        "bad-json",
        "new",
        "no-schema",
        "list",
        "binary",
        "no-splits",
        "more",
        "no-table",
        "empty",
        "short",
        "garbage",
        "rows",
        "dtype",
    ],
)
def test_a_dataset_that_lacks_a_part_says_which_and_what_to_do(
    damage: Callable[[Path], object], message: str, dataset_copy: Dataset
) -> None:
    folder = dataset_copy.folder
    damage(folder)
    with pytest.raises(FreelightError, match=message.format(folder=re.escape(str(folder)))):
        Dataset(folder).split("train")


def test_an_unknown_split_is_answered_with_those_that_exist(dataset: Dataset) -> None:
    with pytest.raises(FreelightError, match="has no split 'test'; it has: train, val"):
        dataset.split("test")


# What stays the same.


def test_the_fingerprint_names_the_data_wherever_it_lies(dataset: Dataset, dataset_copy: Dataset) -> None:
    assert Dataset(dataset_copy.folder).fingerprint == dataset.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", dataset.fingerprint)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["classes"][3].update(id="n99"),
        lambda content: content["classes"].reverse(),
        lambda content: content["splits"]["val"]["shards"][0].update(sha256="0" * 64),
        lambda content: content["splits"]["train"]["shards"].reverse(),
        lambda content: content["splits"].pop("val"),
        lambda content: content.update(image_size=255),
    ],
)
def test_other_data_has_another_fingerprint(
    change: Callable[[dict[str, object]], object], dataset: Dataset, tmp_path: Path
) -> None:
    shutil.copy(dataset.folder / "dataset.json", tmp_path)
    edit_manifest(change)(tmp_path)
    assert Dataset(tmp_path).fingerprint != dataset.fingerprint


def test_a_pickled_split_has_its_own_descriptors(dataset: Dataset) -> None:
    """In another process the same descriptor number is a different file, which must not be closed."""
    split = dataset.split("train")
    expected = split.read(3)
    twin = pickle.loads(pickle.dumps(split))
    twin.close()
    assert split.read(3) == expected
    assert twin.read(3) == expected
    assert twin.sources == split.sources


def test_a_closed_split_opens_its_files_again(dataset: Dataset) -> None:
    """And it leaves none open: computing statistics opens a new reader for each shard."""
    open_before = len(os.listdir("/proc/self/fd"))
    split = dataset.split("train")
    expected = [split.read(index) for index in range(len(split))]
    assert len(os.listdir("/proc/self/fd")) == open_before + 4
    split.close()
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert [split.read(index) for index in range(len(split))] == expected
    del split
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("remote", [False, True])
def test_relative_paths_of_a_dataset_and_its_cache_outlive_a_change_of_folder(
    remote: bool, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(dataset.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    opened = Dataset(f"file://{tmp_path}/copy", cache="cache") if remote else Dataset("copy")
    monkeypatch.chdir("/")
    split = opened.split("val")
    assert split.read(0) == dataset.split("val").read(0)
    assert split.sources == dataset.split("val").sources
    assert (tmp_path / "cache").exists() == remote
