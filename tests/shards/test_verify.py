"""One flipped byte anywhere in a dataset is found; if it is in a sample, the sample is named."""

import hashlib
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from freelight.shards import Dataset, FreelightError, Rescaling, ShardSettings, list_images, make_shards, verify_dataset


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "dataset"
    make_shards(list_images(pictures), out, ShardSettings(rescaling=Rescaling(size=24), samples_per_shard=16))
    return out


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("level", ["hash", "crc", "decode"])
def test_a_sound_dataset_has_no_problems(level: str, made: Path) -> None:
    assert verify_dataset(made, level=level, workers=2 if level == "decode" else 1) == []


def test_a_flipped_byte_in_any_place_of_any_file_is_found(made: Path, copy: Path) -> None:
    """Three places in every file, including both ends: manifest, tables, indices, rejects and tars."""
    for path in sorted(made.iterdir()):
        size = path.stat().st_size
        for offset in {0, size - 1, int(np.random.default_rng(size).integers(size))}:
            target = copy / path.name
            flip(target, offset)
            try:
                found = verify_dataset(copy)
            except FreelightError as error:  # a manifest that is no longer JSON
                found = [str(error)]
            assert found, f"{path.name} byte {offset}"
            assert any(path.name in line for line in found)
            shutil.copyfile(path, target)
    assert verify_dataset(copy) == []


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        (5, "is changed (crc32 differs)"),
        (-600, "is changed around its picture"),
        (-2 * 512 + 2, "has another label in its .cls"),
        (-400, "is changed around its picture"),
    ],
    ids=["picture", "label-padding", "label", "header"],
)
@pytest.mark.parametrize("level", ["hash", "crc"])
def test_each_bad_sample_is_named_with_its_source_and_no_other(
    shift: int, message: str, level: str, copy: Path
) -> None:
    split = Dataset(copy).split("train")
    for index in (18, 25):
        flip(copy / "train-000001.tar", int(split.samples["offset"][index]) + shift)
    found = verify_dataset(copy, level=level)
    for index, line in zip((18, 25), found, strict=True):
        assert split.sources[index] in line
        assert message in line


def test_decode_finds_a_picture_that_was_replaced_with_all_its_checksums(copy: Path) -> None:
    """The manifest cannot tell; only decoding finds a picture of another size."""
    split = Dataset(copy).split("val")
    row = split.samples[3]
    tar = copy / "val-000000.tar"
    data = bytearray(tar.read_bytes())
    start, length = int(row["offset"]), int(row["length"])
    place = data.index(b"\xff\xc0", start)  # the frame header: its height
    data[place + 6] = 16
    tar.write_bytes(data)
    table = np.load(copy / "val.samples.npy")
    table["crc32"][3] = zlib.crc32(data[start : start + length])
    np.save(copy / "val.samples.npy", table)
    manifest = json.loads((copy / "dataset.json").read_text())
    info = manifest["splits"]["val"]
    info["shards"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    info["files"]["val.samples.npy"] = hashlib.sha256((copy / "val.samples.npy").read_bytes()).hexdigest()
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    (copy / "dataset.json").write_text(json.dumps(manifest, indent=1) + "\n")
    assert verify_dataset(copy, level="crc") == []
    (line,) = verify_dataset(copy, level="decode")
    assert split.sources[3] in line
    assert "not a JPEG of RGB or grey, 24x24" in line


@pytest.mark.parametrize("name", ["train-000001.tar", "train-000001.idx", "_info.json", "val.sources.txt"])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    assert f"{copy / name} is missing" in verify_dataset(copy)


def test_a_tar_of_another_dataset_is_named(copy: Path) -> None:
    shutil.copyfile(copy / "train-000000.tar", copy / "train-000009.tar")
    assert [line.split(" is ")[0] for line in verify_dataset(copy)] == [str(copy / "train-000009.tar")]


def test_an_unknown_level_is_an_error(made: Path) -> None:
    with pytest.raises(FreelightError, match=r"`level` \(=all\) must be one of hash, crc, decode"):
        verify_dataset(made, level="all")


def test_opening_a_split_checks_its_table(copy: Path) -> None:
    flip(copy / "train.samples.npy", -9)  # of the last crc32
    with pytest.raises(FreelightError, match=r"train\.samples\.npy was changed after it was written"):
        Dataset(copy).split("train")


def test_a_shard_size_in_the_manifest_that_no_memory_holds_is_a_problem_not_a_crash(copy: Path) -> None:
    manifest = json.loads((copy / "dataset.json").read_text())
    shard = manifest["splits"]["train"]["shards"][0]
    shard["bytes"], found = 8 * 10**12, shard["bytes"]
    (copy / "dataset.json").write_text(json.dumps(manifest, indent=1) + "\n")
    problems = verify_dataset(copy, level="hash")
    assert (
        f"train-000000.tar has {found} bytes, but the manifest says 8000000000000; make the dataset again"
        in "".join(problems)
    )
