"""A dataset directory is a pure function of its source and settings, and reads with anyone's tools."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdataset
from nvidia.dali import fn, pipeline_def
from PIL import Image
from wds2idx import IndexCreator

from freelight.shards import (
    Dataset,
    FreelightError,
    Rescaling,
    ShardRecord,
    ShardSettings,
    Source,
    list_images,
    make_shards,
    rescale_file,
)
from freelight.shards.drawing import draw_picture
from freelight.shards.making import deal_shards
from freelight.shards.sources import SourceImage

TRAIN, VAL, REJECTED = 60, 20, 3  # as tests/conftest.py says
SMALL = ShardSettings(rescaling=Rescaling(size=32), samples_per_shard=8)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Which file each name is and when it was written: tells a file left alone from one written again."""
    found = {path: path.stat() for path in sorted(root.rglob("*")) if path.is_file()}
    return {str(path.relative_to(root)): (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def source_of(pictures: Path) -> Source:
    return list_images(pictures, val_fraction=None, class_names=pictures / "class-names.tsv", seed=0)


@pytest.fixture(scope="module")
def source(pictures: Path) -> Source:
    return source_of(pictures)


@pytest.fixture(scope="module")
def small(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures at 32 pixels, eight a shard: quick to make again."""
    out = tmp_path_factory.mktemp("small") / "dataset"
    make_shards(source, out, SMALL)
    return out


# The bytes.


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


# The order and the keys.


def test_samples_are_shuffled_over_the_whole_split_each_exactly_once(source: Source, dataset: Dataset) -> None:
    """DALI's reader shuffles a small buffer only: a shard of one class would train on one class."""
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
    """So a val folder added later leaves train as it was; and two splits of one length are not shuffled alike."""
    images = source.splits["train"]

    def order(split: str, splits: dict[str, list[SourceImage]]) -> list[str]:
        tasks = deal_shards(replace(source, splits=splits), SMALL)
        return [image.path for task in tasks if task.split == split for image in task.images]

    alone = order("train", {"train": images})
    assert order("train", {"test": images[:9], "train": images}) == alone
    assert sorted(order("val", {"train": images, "val": images})) == sorted(alone)
    assert order("val", {"train": images, "val": images}) != alone


def test_keys_are_places_in_the_shuffled_split_in_eight_digits_with_gaps_at_rejects(dataset: Dataset) -> None:
    split = dataset.split("train")
    keys = [split.key(index) for index in range(TRAIN)]
    assert all(len(key) == 8 and key.isdigit() for key in keys)
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


# The manifest and the readers.


def test_the_manifest_says_every_file_with_its_bytes_and_hash(dataset: Dataset) -> None:
    seen = {"dataset.json", "rejected.jsonl", "statistics.npz", "statistics.json"}
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
    assert content["schema"] == 1
    assert content["image_size"] == 256
    assert [f"{info['id']}\t{info['name']}" for info in content["classes"]] == (
        (pictures / "class-names.tsv").read_text().splitlines()
    )
    shards = {name: [shard["samples"] for shard in split["shards"]] for name, split in content["splits"].items()}
    assert {name: (sum(counts), len(counts)) for name, counts in shards.items()} == {"train": (60, 4), "val": (20, 2)}
    assert {name: split["samples"] for name, split in content["splits"].items()} == {"train": TRAIN, "val": VAL}
    assert {"quality": 95, "seed": 0, "samples_per_shard": 16, "orientation": "EXIF orientation applied"}.items() <= (
        content["made_with"].items()
    )


def expected_samples(dataset: Dataset, split: str) -> list[tuple[int, bytes]]:
    """(label, JPEG bytes) of each sample, through the table and `pread`."""
    opened = dataset.split(split)
    return [(int(label), opened.read(index)) for index, label in enumerate(opened.samples["label"])]


def shard_paths(dataset: Dataset, split: str) -> list[str]:
    return [str(dataset.folder / shard.name) for shard in dataset.manifest.splits[split].shards]


@pytest.mark.parametrize("split", ["train", "val"])
def test_tarfile_and_tar_read_the_same_samples(split: str, dataset: Dataset, tmp_path: Path) -> None:
    found, keys = [], []
    for path in shard_paths(dataset, split):
        with tarfile.open(path) as tar:
            contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        keys += sorted({name.split(".")[0] for name in contents})
        found += [(int(contents[f"{key}.cls"]), contents[f"{key}.jpg"]) for key in keys[len(found) :]]
        subprocess.run(["tar", "-xf", path, "-C", str(tmp_path)], check=True)
        assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    assert found == expected_samples(dataset, split)
    assert len(list(tmp_path.iterdir())) == 2 * len(found)


# webdataset 1.0 leaves the last file of its loop to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("split", ["train", "val"])
def test_webdataset_reads_the_same_samples(split: str, dataset: Dataset) -> None:
    samples = list(webdataset.WebDataset(shard_paths(dataset, split), shardshuffle=False))
    assert [(int(sample["cls"]), sample["jpg"]) for sample in samples] == expected_samples(dataset, split)
    decoded = (
        webdataset.WebDataset(shard_paths(dataset, split), shardshuffle=False).decode("rgb8").to_tuple("jpg", "cls")
    )
    pixels, label = next(iter(decoded))
    assert (pixels.shape, label) == ((256, 256, 3), expected_samples(dataset, split)[0][0])


@pytest.mark.parametrize("split", ["train", "val"])
def test_dalis_webdataset_reader_reads_the_same_samples_with_our_index(split: str, dataset: Dataset) -> None:
    paths = shard_paths(dataset, split)

    @pipeline_def(batch_size=20, num_threads=1, device_id=None)
    def graph() -> tuple[object, object]:
        jpeg, label = fn.readers.webdataset(
            paths=paths,
            index_paths=[str(Path(path).with_suffix(".idx")) for path in paths],
            ext=["jpg", "cls"],
            missing_component_behavior="error",
            name="reader",
        )
        return jpeg, label

    pipeline = graph()
    pipeline.build()
    expected = expected_samples(dataset, split)
    assert pipeline.epoch_size("reader") == len(expected)
    found = []
    for _ in range(len(expected) // 20):
        jpegs, labels = pipeline.run()
        found += [(int(bytes(labels.at(k))), bytes(jpegs.at(k))) for k in range(20)]
    assert found == expected


def test_our_index_is_the_one_dalis_own_tool_makes(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("train", "val"):
        for path in shard_paths(dataset, name):
            with IndexCreator(path, str(tmp_path / "idx"), verbose=False) as creator:
                creator.create_index()
            assert (tmp_path / "idx").read_text() == Path(path).with_suffix(".idx").read_text()


# Stops and restarts.


class Stop(Exception):  # noqa: N818 - no error of the program's
    """Stands for whatever ends a job early."""


def stop_after(count: int, records: Iterable[ShardRecord]) -> Iterator[ShardRecord]:
    for done, record in enumerate(records):
        if done == count:
            raise Stop
        yield record


def begin(source: Source, out: Path, shards: int) -> None:
    """Make a dataset, but stop when so many shards are recorded and one more is written."""
    with pytest.raises(Stop):
        make_shards(source, out, SMALL, watch=lambda records, total: stop_after(shards, records))


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_a_stopped_job_resumes_to_the_same_bytes_and_keeps_its_finished_shards(
    shards: int, source: Source, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    begin(source, out, shards)
    recorded = sorted(path.stem for path in (out / ".partial").glob("*.record"))
    assert len(recorded) == shards + 1
    assert not (out / "dataset.json").exists()
    with pytest.raises(FreelightError, match="is not a finished dataset"):
        Dataset(out)
    # What a kill may leave besides: half a file under its temporary name, and a shard whose record was not written.
    (out / "train-000006.tar.tmp").write_bytes(b"half")
    (out / f"{recorded[-1]}.idx.tmp").write_bytes(b"half")
    (out / ".partial" / "train-000006.record.tmp").write_bytes(b"half")
    (out / ".partial" / f"{recorded[0]}.record").unlink()
    (out / f"{recorded[0]}.tar").write_bytes(b"rot")
    before = identities(out)
    make_shards(source, out, SMALL)
    assert files(out) == files(small)
    after = identities(out)
    for name in recorded[1:]:
        assert after[f"{name}.tar"] == before[f"{name}.tar"], "a finished shard was made again"


def test_every_image_is_watched_once_also_when_resuming(source: Source, tmp_path: Path) -> None:
    """The progress bar must end at its length."""
    begin(source, tmp_path / "out", 3)
    counts: list[int] = []

    def watch(records: Iterable[ShardRecord], total: int) -> Iterator[ShardRecord]:
        counts.append(total)
        for record in records:
            counts[0] -= len(record.samples) + len(record.rejected)
            yield record

    make_shards(source, tmp_path / "out", SMALL, watch=watch)
    assert counts == [0]


def test_a_stop_after_the_manifest_is_tidied_up_by_the_next_run(source: Source, small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / ".partial").mkdir()
    (out / ".partial" / "train-000003.record").write_text("{}")
    make_shards(source, out, SMALL)
    assert files(out) == files(small)
    assert not (out / ".partial").exists()


def test_running_again_on_a_finished_dataset_changes_nothing(source: Source, small: Path) -> None:
    before = identities(small)
    again = make_shards(source, small, SMALL, watch=lambda records, total: pytest.fail("there is nothing to do"))
    assert again == Dataset(small).manifest
    assert identities(small) == before


OTHER = {
    "seed": replace(SMALL, seed=1),
    "limit": replace(SMALL, limit=50),
    "samples_per_shard": replace(SMALL, samples_per_shard=9),
    "size": replace(SMALL, rescaling=Rescaling(size=33)),
    "quality": replace(SMALL, rescaling=Rescaling(size=32, quality=90)),
}


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
@pytest.mark.parametrize("setting", OTHER)
def test_other_settings_on_the_same_folder_are_an_error_naming_them(
    setting: str, finished: bool, source: Source, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if finished:
        shutil.copytree(small, out)
    else:
        begin(source, out, 0)
    before = identities(out)
    with pytest.raises(FreelightError, match=rf"{out} .*other settings.*\({setting}: .* then, .* now\).*--out"):
        make_shards(source, out, OTHER[setting])
    assert identities(out) == before


def rename_picture(pictures: Path) -> None:
    path = next((pictures / "val").rglob("*.JPEG"))
    path.rename(path.with_name("renamed.JPEG"))


def add_picture(pictures: Path) -> None:
    path = next((pictures / "val").rglob("*.JPEG"))
    shutil.copy2(path, path.with_name("added.JPEG"))


def rename_class(pictures: Path) -> None:
    names = pictures / "class-names.tsv"
    names.write_text(names.read_text().replace("ring", "hoop"))


def touch_picture(pictures: Path) -> None:
    os.utime(next((pictures / "val").rglob("*.JPEG")), ns=(0, 0))


@pytest.mark.parametrize(
    ("change", "finished", "message"),
    [
        (rename_picture, True, "pictures of other paths or sizes"),
        (rename_picture, False, "pictures of other paths or sizes"),
        (add_picture, True, "'val': 20} then, .*'val': 21} now"),
        (add_picture, False, "'val': 20} then, .*'val': 21} now"),
        (rename_class, True, "other classes"),
        (rename_class, False, "other classes"),
        (touch_picture, False, "pictures written at other times"),
    ],
)
def test_a_changed_source_on_the_same_folder_is_an_error(
    change: object, finished: bool, message: str, pictures: Path, small: Path, tmp_path: Path
) -> None:
    """A finished dataset does not mind times: a copy of the source may have others."""
    copy = Path(shutil.copytree(pictures, tmp_path / pictures.name))
    out = tmp_path / "out"
    if finished:
        shutil.copytree(small, out)
    else:
        begin(source_of(copy), out, 0)
    before = identities(out)
    change(copy)  # type: ignore[operator]
    with pytest.raises(FreelightError, match=f"another source.*{message}"):
        make_shards(source_of(copy), out, SMALL)
    assert identities(out) == before


def test_a_folder_of_someone_elses_is_refused_and_left_alone(source: Source, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not lose me")
    with pytest.raises(FreelightError, match=f"--out {tmp_path} is not empty and was not begun by make_shards"):
        make_shards(source, tmp_path, SMALL)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_source_that_changes_while_it_is_read_stops_the_job(pictures: Path, tmp_path: Path) -> None:
    """It must not be counted as one more bad picture: the same listing would give other bytes."""
    copy = Path(shutil.copytree(pictures, tmp_path / pictures.name))
    source = source_of(copy)
    next((copy / "train").rglob("*_1.JPEG")).write_bytes(b"cut")
    with pytest.raises(FreelightError, match="changed while it was read"):
        make_shards(source, tmp_path / "out", SMALL)


# The corners.


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Five pictures of two classes."""
    for index in range(5):
        path = tmp_path / "few" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(index, np.random.default_rng(index), (40, 50)).save(path)
    return tmp_path / "few"


def listed(images: Path) -> Source:
    return list_images(images, val_fraction=None, class_names=None, seed=0)


def test_a_shard_of_only_bad_pictures_is_dropped_and_the_rest_reads_on(few: Path, tmp_path: Path) -> None:
    (few / "a" / "bad.png").write_text("not a picture")
    out = tmp_path / "out"
    make_shards(listed(few), out, replace(SMALL, samples_per_shard=1))
    made = Dataset(out)
    split = made.split("train")
    names = [shard.name for shard in made.manifest.splits["train"].shards]
    assert len(split) == len(names) == 5
    assert set(names) < {f"train-{k:06d}.tar" for k in range(6)}
    assert sorted(path.name for path in out.glob("*.tar")) == names
    assert sorted(path.stem for path in out.glob("*.idx")) == [name[:-4] for name in names]
    assert json.loads((out / "rejected.jsonl").read_text())["path"] == "a/bad.png"
    for index, path in enumerate(split.sources):
        assert split.read(index) == rescale_file((few / path).read_bytes(), SMALL.rescaling)
        assert f"train-00{split.key(index)[-4:]}.tar" == names[int(split.samples["shard"][index])]


def test_a_split_of_only_bad_pictures_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    path = tmp_path / "images" / "a" / "bad.png"
    path.parent.mkdir(parents=True)
    path.write_text("not a picture")
    with pytest.raises(FreelightError, match=r"no image of the split 'train' can be decoded; the first: .*bad\.png"):
        make_shards(listed(tmp_path / "images"), tmp_path / "out", SMALL)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_file_names_of_any_bytes_come_through(few: Path, tmp_path: Path) -> None:
    """But for a line break. Other characters at which Python splits lines, and bytes that are no UTF-8, are names."""
    odd = [os.fsencode(name) for name in ("a\rb.png", "a\u2028b.png", "a\x85\x0bb.png")] + [b"\xff\xfe.png"]
    pictures = sorted(few.rglob("*.png"))
    for name, path in zip(odd, pictures, strict=False):
        os.rename(path, os.path.join(os.fsencode(path.parent), name))
    (few / "a" / os.fsdecode(b"\xfebad.png")).write_text("not a picture")
    source = listed(few)
    make_shards(source, tmp_path / "out", SMALL)
    split = Dataset(tmp_path / "out").split("train")
    assert sorted(split.sources) == sorted(image.path for image in source.splits["train"] if "bad" not in image.path)
    assert len(split) == 5
    reject = json.loads((tmp_path / "out" / "rejected.jsonl").read_text())
    assert os.fsencode(reject["path"]) == b"a/\xfebad.png"


def test_samples_per_shard_is_a_32nd_of_the_largest_split_within_100_and_2000(few: Path) -> None:
    source = listed(few)
    image = source.splits["train"][0]
    for count, limit, expected in [(5, None, 100), (6400, None, 200), (6401, None, 201), (10**6, None, 2000)]:
        large = replace(source, splits={"train": [image] * count, "val": [image]})
        assert ShardSettings(limit=limit).resolve(large).samples_per_shard == expected
    large = replace(source, splits={"train": [image] * 10**6})
    assert ShardSettings(limit=6400).resolve(large).samples_per_shard == 200
    assert ShardSettings(samples_per_shard=7).resolve(large).samples_per_shard == 7


def test_tasks_do_not_carry_the_listing_to_their_processes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For ImageNet it is 100 MB and 8 seconds of pickling, a task."""
    seen: list[Source] = []

    def run(function: object, tasks: Iterable[object], **options: object) -> Iterator[ShardRecord]:
        seen.append(function.args[0])  # type: ignore[attr-defined]
        raise Stop
        yield

    monkeypatch.setattr("freelight.shards.making.run_tasks", run)
    with pytest.raises(Stop):
        make_shards(source, tmp_path / "out", SMALL)
    assert sum(len(images) for images in seen[0].splits.values()) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples_per_shard": 0}, r"--samples-per-shard \(=0\) must be at least 1"),
        ({"limit": 0}, r"--limit \(=0\) must be at least 1"),
        ({"seed": -1}, r"--seed \(=-1\) must be at least 0"),
    ],
)
def test_settings_out_of_range_are_named(fields: dict[str, int], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        ShardSettings(**fields)  # type: ignore[arg-type]


def test_every_stored_jpeg_decodes_to_the_manifests_size(small: Path) -> None:
    made = Dataset(small)
    split = made.split("train")
    assert {Image.open(io.BytesIO(split.read(index))).size for index in range(len(split))} == {(32, 32)}
    assert made.image_size == 32
