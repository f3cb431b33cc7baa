"""A dataset directory is a pure function of its source and settings."""

import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from making import SMALL, files, source_of

from freelight.shards import Dataset, Rescaling, Source, list_images, make_shards, rescale_file
from freelight.shards.sources import SourceImage
from freelight.shards.writing import deal_shards

TRAIN, VAL, REJECTED = 60, 20, 3  # as tests/conftest.py says


def test_the_bytes_do_not_depend_on_workers(source: Source, small: Path, tmp_path: Path) -> None:
    """Every file of the tree: shards, indices, tables, manifest and the reasons of rejects."""
    make_shards(source, tmp_path / "two", SMALL, workers=2)
    assert files(tmp_path / "two") == files(small)


def test_the_bytes_do_not_depend_on_where_or_when_the_source_was_copied(
    pictures: Path, small: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(pictures, tmp_path / "deeper" / pictures.name, copy_function=shutil.copyfile)
    make_shards(source_of(copy), tmp_path / "out", SMALL)
    assert files(tmp_path / "out") == files(small)


def test_tar_headers_hold_no_owner_no_time_and_no_extensions(dataset: Dataset) -> None:
    for path in dataset.folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            end = 0
            for member in tar:
                assert (member.type, member.mode, member.mtime) == (tarfile.REGTYPE, 0o444, 0)
                assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
                assert member.offset == end, "something lies before the header: a PAX extension"
                assert member.offset_data == member.offset + 512
                assert member.pax_headers == {}
                end = member.offset_data + -(-member.size // 512) * 512


def test_each_jpeg_is_its_source_picture_rescaled(source: Source, dataset: Dataset) -> None:
    split = dataset.split("val")
    for index in range(0, VAL, 5):
        data = (source.root / split.sources[index]).read_bytes()
        assert split.read(index) == rescale_file(data, Rescaling())


def test_samples_are_shuffled_over_the_whole_split_each_exactly_once(source: Source, dataset: Dataset) -> None:
    """DALI's reader shuffles only a small buffer: a shard with one class would give batches of one class."""
    split = dataset.split("train")
    rejects = [json.loads(line)["path"] for line in (dataset.folder / "rejected.jsonl").read_text().splitlines()]
    assert sorted(split.sources + rejects) == sorted(image.path for image in source.splits["train"])
    for shard in range(3):
        assert len(set(split.samples["label"][split.samples["shard"] == shard].tolist())) >= 6


def test_labels_are_those_of_the_source_folders(dataset: Dataset) -> None:
    ids = [info.id for info in dataset.manifest.classes]
    assert ids == sorted(ids)
    for name in ("train", "val"):
        split = dataset.split(name)
        assert [ids[label] for label in split.samples["label"]] == [path.split("/")[1] for path in split.sources]


def test_another_seed_is_another_order_and_a_limit_keeps_its_beginning(
    source: Source, small: Path, tmp_path: Path
) -> None:
    make_shards(source, tmp_path / "seed", replace(SMALL, seed=1))
    make_shards(source, tmp_path / "limit", replace(SMALL, limit=19))
    order = Dataset(small).split("train").sources
    other = Dataset(tmp_path / "seed").split("train").sources
    assert sorted(other) == sorted(order)
    assert other != order
    limited = Dataset(tmp_path / "limit")
    kept = limited.split("train").sources
    assert kept == order[: len(kept)]
    assert len(kept) + limited.manifest.splits["train"].rejected == 19
    assert limited.manifest.splits["val"].samples == 19


def test_a_splits_order_depends_on_its_own_pictures_and_name_alone(source: Source) -> None:
    """A val folder that is added later does not change train, and two splits of equal length get different orders."""
    images = source.splits["train"]

    def order(split: str, splits: dict[str, list[SourceImage]]) -> list[str]:
        tasks = deal_shards(replace(source, splits=splits), SMALL)
        return [image.path for task in tasks if task.split == split for image in task.images]

    alone = order("train", {"train": images})
    assert order("train", {"test": images[:9], "train": images}) == alone
    assert sorted(order("val", {"train": images, "val": images})) == sorted(alone)
    assert order("val", {"train": images, "val": images}) != alone


def test_keys_are_the_split_and_the_place_in_it_in_eight_digits_with_gaps_at_rejects(dataset: Dataset) -> None:
    split = dataset.split("train")
    assert all(re.fullmatch(r"train-\d{8}", split.key(index)) for index in range(TRAIN))
    keys = [split.key(index).removeprefix("train-") for index in range(TRAIN)]
    assert keys == sorted(keys)
    assert len(set(range(TRAIN + REJECTED)) - {int(key) for key in keys}) == REJECTED
    assert [int(key) // 16 for key in keys] == split.samples["shard"].tolist(), "16 places a shard"


def test_rejects_are_listed_with_their_reasons(dataset: Dataset) -> None:
    rejects = [json.loads(line) for line in (dataset.folder / "rejected.jsonl").read_text().splitlines()]
    assert {reject["split"] for reject in rejects} == {"train"}
    reasons = {reject["path"].rsplit("/", 1)[1]: reject["reason"] for reject in rejects}
    assert set(reasons) == {"empty.JPEG", "text.JPEG", "n90000004_0.JPEG"}
    assert "empty" in reasons["empty.JPEG"]
    assert "not a picture" in reasons["text.JPEG"]
    assert "truncated" in reasons["n90000004_0.JPEG"]
    assert [dataset.manifest.splits[name].rejected for name in ("train", "val")] == [REJECTED, 0]


def test_the_manifest_says_every_file_with_its_bytes_and_hash(dataset: Dataset) -> None:
    seen = {"dataset.json", "statistics.npz", "statistics.json", *dataset.manifest.files}
    for name, sha256 in dataset.manifest.files.items():
        assert hashlib.sha256((dataset.folder / name).read_bytes()).hexdigest() == sha256
    for split in dataset.manifest.splits.values():
        for shard in split.shards:
            data = (dataset.folder / shard.name).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (shard.bytes, shard.sha256)
        for name, sha256 in split.files.items():
            assert hashlib.sha256((dataset.folder / name).read_bytes()).hexdigest() == sha256
        seen |= {shard.name for shard in split.shards} | set(split.files)
    assert set(files(dataset.folder)) == seen


def test_the_manifest_says_what_was_made_and_how(pictures: Path, dataset: Dataset) -> None:
    content = json.loads((dataset.folder / "dataset.json").read_text())
    assert content["schema"] == 2
    assert content["image_size"] == 256
    sides = {"min": 256, "median": 256, "max": 256}
    assert [split["sizes"] for split in content["splits"].values()] == [{"height": sides, "width": sides}] * 2
    assert [f"{info['id']}\t{info['name']}" for info in content["classes"]] == (
        (pictures / "class-names.tsv").read_text().splitlines()
    )
    shards = {name: [shard["samples"] for shard in split["shards"]] for name, split in content["splits"].items()}
    assert {name: (sum(counts), len(counts)) for name, counts in shards.items()} == {"train": (60, 4), "val": (20, 2)}
    assert {name: split["samples"] for name, split in content["splits"].items()} == {"train": TRAIN, "val": VAL}
    assert {"quality": 95, "seed": 0, "samples_per_shard": 16, "orientation": "EXIF orientation applied"}.items() <= (
        content["made_with"].items()
    )


def test_a_source_listed_by_relative_paths_outlives_a_change_of_folder(
    small: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    source = list_images(Path(pictures.name), class_names=Path(pictures.name) / "class-names.tsv")
    monkeypatch.chdir(tmp_path)
    make_shards(source, Path("again"), SMALL)
    assert files(tmp_path / "again") == files(small)
