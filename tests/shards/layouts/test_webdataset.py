"""WebDataset tars of other people, and datasets of Freelight, are sources like any other, read in place."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from miniatures import WNIDS, jpeg, tar_of
from PIL import Image

from freelight.shards import Dataset, FreelightError, Source, list_images, make_shards
from freelight.shards.images import Rescaling
from freelight.shards.writing import ShardSettings

Contents = dict[str, list[tuple[str | None, bytes]]]
Reader = Callable[[Source], Contents]
TINY = ShardSettings(rescaling=Rescaling(size=16), samples_per_shard=5)
RELEASE_01 = Path(__file__).parents[2] / "data" / "release-0.1" / "dataset"


def listed(images: Path, **options: Any) -> Source:
    source = list_images(images, **options)
    assert isinstance(source, Source)
    return source


def pixels_by_source(folder: Path, *, name_of: Callable[[str], str]) -> dict[str, tuple[str, bytes]]:
    """Return class id and JPEG of each sample of a dataset, by what `name_of` makes of its source's path."""
    dataset = Dataset(folder)
    found = {}
    for name in dataset.manifest.splits:
        split = dataset.split(name)
        for index, source in enumerate(split.sources):
            info = dataset.manifest.classes[int(split.samples["label"][index])]
            found[f"{name}/{name_of(source)}"] = (info.id, split.read(index))
    return found


def stem(source: str) -> str:
    return source.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def test_tars_make_the_pixels_and_labels_of_the_same_pictures_in_folders(
    webdataset: Path, mini: Any, tmp_path: Path
) -> None:
    """Only the order differs, because it follows the sources' paths."""
    folders = tmp_path / "folders"
    train = [(f"train/{wnid}/{name}", data) for wnid, files in mini.train.items() for name, data in files.items()]
    val = [(f"val/{wnid}/ILSVRC2012_val_{n:08d}.JPEG", data) for n, (wnid, data) in enumerate(mini.val, 1)]
    for path, data in train + val:
        (folders / path).parent.mkdir(parents=True, exist_ok=True)
        (folders / path).write_bytes(data)
    made = make_shards(listed(webdataset), tmp_path / "a", TINY)
    again = make_shards(listed(folders), tmp_path / "b", TINY)
    assert made.classes == again.classes
    assert made.source["layout"] == "webdataset"
    found = pixels_by_source(tmp_path / "a", name_of=stem)
    assert len(found) == len(train) + len(val)
    assert found == pixels_by_source(tmp_path / "b", name_of=stem)


def test_keys_stay_in_the_list_of_sources_and_notes_say_the_split(webdataset: Path) -> None:
    source = listed(webdataset)
    assert source.splits["train"][0].path == "imagenet1k-train-0000.tar/n01440764_10.jpg"
    assert source.notes == ("validation is read as the split val",)
    assert not source.left_out


def test_a_dataset_of_freelight_is_a_source_with_its_classes_and_keys(
    webdataset: Path, tmp_path: Path, expected: Contents
) -> None:
    names = tmp_path / "names.tsv"
    names.write_text("".join(f"{wnid}\tname of {wnid}\n" for wnid in WNIDS))
    first = make_shards(listed(webdataset, class_names=names), tmp_path / "first", TINY)
    source = listed(tmp_path / "first")
    assert source.layout == "webdataset"
    assert source.classes == first.classes
    dataset = Dataset(tmp_path / "first")
    for name, images in source.splits.items():
        split = dataset.split(name)
        where = {f"{split.info.shards[row['shard']].name}/{split.key(i)}.jpg": i for i, row in enumerate(split.samples)}
        assert sorted(where) == sorted(image.path for image in images)
        for image in images:
            assert source.read(image) == split.read(where[image.path])
            assert image.label == split.samples["label"][where[image.path]]
    second = make_shards(source, tmp_path / "second", ShardSettings(rescaling=Rescaling(size=8), limit=3))
    assert (second.splits["train"].samples, second.image_size) == (3, 8)


def test_a_dataset_of_version_01_is_a_source(tmp_path: Path) -> None:
    """Schema 1."""
    old = Dataset(RELEASE_01)
    source = listed(RELEASE_01)
    assert source.classes == old.manifest.classes
    read = sorted((image.label, source.read(image)) for image in source.splits["val"])
    split = old.split("val")
    assert read == sorted((int(split.samples["label"][i]), split.read(i)) for i in range(len(split)))


def test_a_dataset_in_the_devkits_order_keeps_it_on_request(ilsvrc2012: Path, tmp_path: Path) -> None:
    first = make_shards(listed(ilsvrc2012, label_order="ilsvrc"), tmp_path / "first", TINY)
    assert listed(tmp_path / "first", label_order="ilsvrc").classes == first.classes


def test_a_dataset_without_a_shard_or_not_finished_is_one_line(webdataset: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    make_shards(listed(webdataset), made, TINY)
    shard = made / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(FreelightError, match=r"train-000001\.tar has \d+ bytes, but \d+ in the manifest"):
        listed(made)
    shard.unlink()
    with pytest.raises(FreelightError, match=r"train-000001\.tar is missing"):
        listed(made)
    (made / "dataset.json").unlink()
    (made / ".partial").mkdir()
    with pytest.raises(FreelightError, match="is an unfinished dataset"):
        listed(made)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 30, 90)).save(buffer, kind)
    return buffer.getvalue()


def put(folder: Path, tars: dict[str, list[tuple[str, bytes]]]) -> Path:
    for name, members in tars.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tar_of(members))
    return folder


def both(key: str, label: object) -> list[tuple[str, bytes]]:
    return [(f"{key}.jpg", jpeg(1)), (f"{key}.cls", str(label).encode())]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-000000.tar", "train"),
        ("imagenet1k-train-0000.tar", "train"),
        ("val-0.tar", "val"),
        ("imagenet22k.validation.00.tar", "val"),
        ("validation/00000.tar", "val"),
        ("Test_0.tar", "test"),
    ],
)
def test_the_name_of_a_tar_or_its_folder_says_the_split(name: str, split: str, tmp_path: Path) -> None:
    images = put(tmp_path, {"train-1.tar" if "/" not in name else "train/0.tar": both("b", 1), name: both("a", 1)})
    assert [image.path for image in listed(images).splits[split]][:1] == [f"{name}/a.jpg"]


def test_tars_without_a_word_are_train_and_a_lone_tar_is_a_source(tmp_path: Path) -> None:
    """So img2dataset's output is read, with its tables of parquet beside the tars."""
    images = put(tmp_path, {"00000.tar": both("a", 0) + both("b", 1)})
    (images / "00000.parquet").write_bytes(b"a table")
    for given in (images, images / "00000.tar"):
        source = listed(given)
        assert (source.layout, [image.label for image in source.splits["train"]]) == ("webdataset", [0, 1])


def test_pictures_of_every_kind_and_labels_of_every_kind(tmp_path: Path) -> None:
    members = [
        ("a/1.jpeg", picture("JPEG")),
        ("a/1.cls", b"0\n"),
        ("2.PNG", picture("PNG")),
        ("2.json", b'{"label": 1}'),
        ("3.webp", picture("WEBP")),
        ("3.cls", b"00002"),
        ("3.txt", b"a caption"),
        ("3.seg.png", picture("PNG")),
        ("4.cls", b"1"),
    ]
    source = listed(put(tmp_path, {"train-0.tar": members}))
    assert [info.id for info in source.classes] == ["00000", "00001", "00002"]
    assert [image.path for image in source.splits["train"]] == [
        "train-0.tar/a/1.jpeg",
        "train-0.tar/2.PNG",
        "train-0.tar/3.webp",
    ]
    assert source.notes == (
        "3 files or folders are ignored, because they hold no pictures: 1 *.txt, 1 other members, 1 samples without a "
        "picture",
    )
    assert make_shards(source, tmp_path / "out", TINY).splits["train"].samples == 3


def test_a_class_id_in_place_of_a_number_is_the_class(tmp_path: Path) -> None:
    members = [*both("1", "dog"), ("2.jpg", jpeg(2)), ("2.json", b'{"label": "cat"}')]
    assert [info.id for info in listed(put(tmp_path, {"0.tar": members})).classes] == ["cat", "dog"]
    named = [(f"{k}.jpg", jpeg(k)) for k in range(2)]
    named += [(f"{k}.json", json.dumps({"label": k, "class_id": f"n0000000{2 - k}"}).encode()) for k in range(2)]
    source = listed(put(tmp_path / "named", {"0.tar": named}))
    assert [info.id for info in source.classes] == ["n00000001", "n00000002"]
    assert source.notes[-1] == (
        "labels follow the sorted class ids of train, not the tars' numbers: n00000001 is 0 here, and 1 there"
    )


@pytest.mark.parametrize(
    ("file", "text", "ids", "names"),
    [
        ("_info.json", '{"classes": ["tench", "crane"], "splits": {}}', ["00000", "00001"], ["tench", "crane"]),
        ("classes.json", '["n02", "n01"]', ["00000", "00001"], ["n02", "n01"]),
        ("classes.json", '[{"id": "x", "name": "tench"}, {"id": "y", "name": ""}]', ["x", "y"], ["tench", ""]),
        (
            "imagenet_class_index.json",
            '{"0": ["n00000001", "tench"], "1": ["n00000002", "crane"]}',
            ["n00000001", "n00000002"],
            ["tench", "crane"],
        ),
        ("_info.json", '{"splits": {"train": {"num_samples": 2}}}', ["00000", "00001"], ["00000", "00001"]),
    ],
)
def test_class_names_come_from_a_list_beside_the_tars(
    file: str, text: str, ids: list[str], names: list[str], tmp_path: Path
) -> None:
    images = put(tmp_path, {"train-0.tar": both("a", 0) + both("b", 1)})
    (images / file).write_text(text)
    classes = listed(images).classes
    assert [(info.id, info.name) for info in classes] == list(zip(ids, names, strict=True))


def test_class_names_of_the_user_are_in_the_order_of_the_labels(tmp_path: Path) -> None:
    images = put(tmp_path / "in", {"train-0.tar": both("a", 0) + both("b", 1)})
    names = tmp_path / "names.tsv"
    names.write_text("x1\tcat\nx2\tdog\n")
    assert [(info.id, info.name) for info in listed(images, class_names=names).classes] == [
        ("x1", "cat"),
        ("x2", "dog"),
    ]
    names.write_text("x1\tcat\n")
    with pytest.raises(FreelightError, match="has the class number 1, but only 1 classes are listed"):
        listed(images, class_names=names)


BAD = {
    "no label": ([("x.jpg", b"")], "has no label: neither a .cls nor a label in its .json"),
    "long cls": ([("x.jpg", b""), ("x.cls", b"1" * 300)], "its .cls has 300 bytes; at most 256 are read"),
    "bytes": ([("x.jpg", b""), ("x.cls", b"\xff")], "its .cls is not UTF-8 text"),
    "break": ([("x.jpg", b""), ("x.cls", b"a\nb")], ".cls is not a class number or id"),
    "json": ([("x.jpg", b""), ("x.json", b"{")], "its .json is not valid JSON ("),
    "list": ([("x.jpg", b""), ("x.json", b"[1]")], "its .json: the content (=[1]) must be an object"),
    "label": ([("x.jpg", b""), ("x.json", b'{"label": [1]}')], "the label of its .json is neither a number nor a text"),
    "negative": ([("x.jpg", b""), ("x.json", b'{"label": -2}')], "the label of its .json is not a class number or id"),
    "long json": ([("x.jpg", b""), ("x.json", b" " * ((1 << 20) + 1))], "its .json has 1048577 bytes; at most"),
    "two": ([("x.jpg", b""), ("x.png", b""), ("x.cls", b"0")], "has several pictures: jpg, png"),
    "twice": ([("x.jpg", b""), ("x.cls", b"0"), ("x.jpg", jpeg(3))], "stands again later in the archive"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sample_is_left_out_with_its_reason(name: str, tmp_path: Path) -> None:
    members, reason = BAD[name]
    source = listed(put(tmp_path, {"train-0.tar": [*both("a", 0), *members]}))
    ((left),) = source.left_out
    assert left.path.startswith("train-0.tar/x")
    assert left.reason.startswith(reason)
    assert len(source.splits["train"]) == (2 if name == "twice" else 1)


@pytest.mark.parametrize(
    ("tars", "message"),
    [
        ({"train-0.tar": both("a", 0), "0.tar": both("b", 0)}, "0.tar is of no known split, unlike other tars there"),
        ({"train-val-0.tar": both("a", 0)}, "names several splits: train, val; rename it"),
        (
            {"0.tar": [("a.jpg", b""), ("a.json", b'{"label": 1, "class_id": "x"}'), *both("b", 0)]},
            "class 0 has no id in its samples",
        ),
        (
            {
                "0.tar": [
                    ("a.jpg", b""),
                    ("a.json", b'{"label": 1, "class_id": "x"}'),
                    ("b.jpg", b""),
                    ("b.json", b'{"label": 1, "class_id": "y"}'),
                ]
            },
            "samples of class number 1 have the ids x, y",
        ),
        ({"val-0.tar": both("a", 0)}, "has no train split"),
    ],
)
def test_what_is_not_clear_is_one_line(tars: dict[str, list[tuple[str, bytes]]], message: str, tmp_path: Path) -> None:
    with pytest.raises(FreelightError) as caught:
        listed(put(tmp_path, tars))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lone_archive_is_recognised_by_its_content(mini: Any, tmp_path: Path) -> None:
    """Not every tar is Fall 2011."""
    other = put(tmp_path, {"photos.tar": [("a/1.jpg", jpeg(1)), ("a/2.jpg", jpeg(2))]}) / "photos.tar"
    with pytest.raises(FreelightError, match=r"holds neither class tars \(n01440764\.tar\) nor samples"):
        listed(other)
    other.write_bytes(other.read_bytes()[100:])
    with pytest.raises(FreelightError, match="is not a tar, or is damaged, at byte 0"):
        listed(other)
    put(tmp_path, {"photos.tar": mini.class_tars()})
    assert listed(other).layout == "fall2011"


def test_folders_with_an_old_tar_beside_them_stay_folders(tmp_path: Path) -> None:
    images = put(tmp_path, {"train.tar": [("train/a/1.jpg", jpeg(1))]})
    (images / "train" / "a").mkdir(parents=True)
    shutil.copy(images / "train.tar", images / "train" / "a" / "1.jpg")
    assert listed(images).layout == "folders"
