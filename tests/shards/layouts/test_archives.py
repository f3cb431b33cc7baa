"""The official archives and Kaggle's tree give the same pictures under the same labels, read in place."""

import gzip
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from freelight.shards import (
    FreelightError,
    ShardSettings,
    Source,
    list_images,
    make_shards,
    summarize_dataset,
    summarize_source,
)
from freelight.shards.images import Rescaling

Contents = dict[str, list[tuple[str | None, bytes]]]
Reader = Callable[[Source], Contents]
Tar = Callable[..., bytes]
TINY = ShardSettings(rescaling=Rescaling(size=16), samples_per_shard=5)


def listed(images: Path, **options: Any) -> Source:
    source = list_images(images, **options)
    assert isinstance(source, Source)
    return source


def test_ilsvrc_2012_archives(ilsvrc2012: Path, expected: Contents, contents_of: Reader) -> None:
    source = listed(ilsvrc2012)
    assert source.layout == "ilsvrc2012"
    assert contents_of(source) == expected
    assert [info.name for info in source.classes] == ["tench", "sea snake", "kit fox", "crane"]
    assert source.splits["train"][0].path == "ILSVRC2012_img_train.tar/n01440764.tar/n01440764_10.JPEG"
    assert [image.label for image in source.splits["val"]] == sorted(image.label for image in source.splits["val"])
    assert not source.left_out


def test_ilsvrc_2010_archives_with_patched_pictures_and_public_test_labels(
    ilsvrc2010: Path, expected: Contents, contents_of: Reader
) -> None:
    source = listed(ilsvrc2010)
    found = contents_of(source)
    assert source.layout == "ilsvrc2010"
    assert {split: found[split] for split in ("train", "val")} == {split: expected[split] for split in ("train", "val")}
    labelled = dict(zip(("n03126707", "n01440764", "n01440764"), [d for _, d in expected["test"]], strict=True))
    assert {wnid for wnid, _ in found["test"]} == set(labelled)
    assert sorted(data for _, data in found["test"]) == sorted(data for _, data in expected["test"])
    assert [(left.path, left.reason) for left in source.left_out] == [
        ("patch_images.tar/n09999999_1.JPEG", "replaces no picture")
    ]


def test_kaggles_tree(kaggle: Path, expected: Contents, contents_of: Reader) -> None:
    source = listed(kaggle)
    assert source.layout == "kaggle"
    assert contents_of(source) == expected
    assert source.classes[1].name == "sea snake, and more"


def test_the_same_pictures_make_the_same_shards_whatever_the_layout(
    ilsvrc2012: Path, kaggle: Path, tmp_path: Path
) -> None:
    """A dataset from Kaggle's copy equals one from the official archives, byte for byte."""
    one, other = tmp_path / "one", tmp_path / "other"
    make_shards(listed(ilsvrc2012), one, TINY)
    make_shards(listed(kaggle), other, TINY)
    shards = sorted(path.name for path in one.glob("*-0*"))
    assert shards == sorted(path.name for path in other.glob("*-0*"))
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in shards)


def test_splits_without_labels_say_so(ilsvrc2012: Path, tmp_path: Path) -> None:
    manifest = make_shards(listed(ilsvrc2012), tmp_path / "out", TINY)
    assert {name: split.labelled for name, split in manifest.splits.items()} == {
        "train": True,
        "val": True,
        "test": False,
    }
    with tarfile.open(tmp_path / "out" / "test-000000.tar") as tar:
        labels = [tar.extractfile(member).read() for member in tar if member.name.endswith(".cls")]  # type: ignore[union-attr]
    assert labels == [b"-1"] * 3


def test_label_order_ilsvrc_is_the_devkits(ilsvrc2012: Path, expected: Contents, contents_of: Reader) -> None:
    source = listed(ilsvrc2012, label_order="ilsvrc")
    assert source.label_order == "ilsvrc"
    assert [info.id for info in source.classes] == ["n02119789", "n03126707", "n01751748", "n01440764"]
    assert contents_of(source) == expected
    assert [i.path for i in source.splits["train"]] == [i.path for i in listed(ilsvrc2012).splits["train"]]


def test_line_1_of_the_ground_truth_490_is_n01751748_is_label_65(tmp_path: Path, tar: Tar) -> None:
    """The known mapping, on archives with a thousand classes: 65 of them sort before n01751748."""
    wnids = [f"n015{k:05d}" for k in range(65)] + ["n01751748"] + [f"n02{k:06d}" for k in range(934)]
    order = list(np.random.default_rng(0).permutation([wnid for wnid in wnids if wnid != "n01751748"]))
    order.insert(489, "n01751748")
    fields = ["ILSVRC2012_ID", "WNID", "words", "num_children"]
    table = np.zeros((1001, 1), dtype=[(name, object) for name in fields])
    for place, wnid in enumerate(order):
        table[place, 0] = (place + 1, str(wnid), "a name", 0)
    table[1000, 0] = (1001, "n00001740", "entity", 3)
    mat = io.BytesIO()
    scipy.io.savemat(mat, {"synsets": table})
    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as devkit:
        for name, data in (
            ("meta.mat", mat.getvalue()),
            ("ILSVRC2012_validation_ground_truth.txt", b"490\n1\n1000\n"),
        ):
            info = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            info.size = len(data)
            devkit.addfile(info, io.BytesIO(data))
    classes = [(f"{wnid}.tar", tar([(f"{wnid}_1.JPEG", wnid.encode())])) for wnid in wnids]
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(tar(classes))
    val = [(f"ILSVRC2012_val_{number:08d}.JPEG", b"%d" % number) for number in (3, 1, 2)]
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(tar(val))
    source = listed(tmp_path)
    labels = {source.read(image): image.label for image in source.splits["val"]}
    assert source.classes[65].id == "n01751748"
    assert labels == {b"1": 65, b"2": wnids.index(order[0]), b"3": wnids.index(order[999])}
    assert listed(tmp_path, label_order="ilsvrc").classes[489].id == "n01751748"


def test_fall_2011_is_a_tar_of_class_tars_split_half_and_half(mini: Any, tar: Tar, tmp_path: Path) -> None:
    (tmp_path / "fall11_whole.tar").write_bytes(tar([*mini.class_tars(), ("stray.JPEG", b"hello")]))
    for images in (tmp_path, tmp_path / "fall11_whole.tar"):
        source = listed(images, val_fraction=0.5)
        assert source.layout == "fall2011"
        assert {split: len(found) for split, found in source.splits.items()} == {"train": 4, "val": 8}
        assert [(left.path, left.reason) for left in source.left_out] == [
            ("fall11_whole.tar/stray.JPEG", "no class is known from its path")
        ]


@pytest.mark.parametrize("name", ["winter21_whole.tar.gz", "winter21_whole.tar"])
def test_winter_2021_is_a_tar_of_class_tars_in_a_folder(name: str, mini: Any, tar: Tar, tmp_path: Path) -> None:
    """Read in order from tar.gz, in place from tar, to the same shards."""
    members = [("winter21_whole/", b""), *((f"winter21_whole/{tar}", data) for tar, data in mini.class_tars())]
    path = tmp_path / name
    path.write_bytes(gzip.compress(tar(members)) if name.endswith("gz") else tar(members))
    manifest = make_shards(list_images(tmp_path), tmp_path / "out", TINY)
    assert manifest.source["layout"] == list_images(path).layout == "winter2021"
    assert [info.id for info in manifest.classes] == sorted(mini.train)
    assert manifest.splits["train"].samples == 12
    source = (tmp_path / "out" / "train.sources.txt").read_text().split()[0]
    assert source.startswith(f"{name}/winter21_whole/n0")


def test_a_folder_of_class_tars_is_read_in_place(
    mini: Any, expected: Contents, contents_of: Reader, tmp_path: Path
) -> None:
    for name, data in mini.class_tars():
        (tmp_path / name).write_bytes(data)
    source = listed(tmp_path)
    assert source.layout == "class-tars"
    assert contents_of(source) == {"train": expected["train"]}
    assert source.splits["train"][0].path == "n01440764.tar/n01440764_10.JPEG"
    (tmp_path / "classes.txt").write_text("n02119789\n")
    (tmp_path / "n01440764.tar").write_bytes(b"not looked at")
    assert {image.file for image in listed(tmp_path, classes=tmp_path / "classes.txt").splits["train"]} == {
        "n02119789.tar"
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "ILSVRC2012_devkit_t12.tar.gz").unlink(), "has no ILSVRC2012_devkit_t12.tar.gz, which holds"),
        (
            lambda f: (f / "ILSVRC2012_img_train.tar").unlink(),
            "has no ILSVRC2012_img_train.tar, which defines the classes",
        ),
        (lambda f: (f / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"x" * 900), "is not a tar, or is damaged"),
    ],
)
def test_an_archive_that_is_missing_or_damaged_is_named(
    damage: Callable[[Path], object], message: str, ilsvrc2012: Path
) -> None:
    damage(ilsvrc2012)
    with pytest.raises(FreelightError, match=re.escape(message)):
        listed(ilsvrc2012)


def test_a_validation_archive_of_another_release_is_an_error(ilsvrc2012: Path, mini: Any, tar: Tar) -> None:
    short = mini.devkit(2012, top="ILSVRC2012_devkit_t12", truth=["n01440764"] * 7)
    (ilsvrc2012 / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(short)
    with pytest.raises(FreelightError, match=r"img_val\.tar has 6 pictures, but its ground truth has 7 lines"):
        listed(ilsvrc2012)


def test_kaggles_val_must_be_whole(kaggle: Path) -> None:
    next((kaggle / "ILSVRC/Data/CLS-LOC/val").iterdir()).unlink()
    with pytest.raises(FreelightError, match=r"val lacks ILSVRC2012_val_\d+, which LOC_val_solution\.csv lists"):
        listed(kaggle)


def test_a_layout_that_is_named_must_be_there(ilsvrc2012: Path) -> None:
    with pytest.raises(FreelightError, match="does not have `layout` kaggle; expected ILSVRC/Data/CLS-LOC/train"):
        listed(ilsvrc2012, layout="kaggle")
    with pytest.raises(FreelightError, match=r"`layout` \(=imagenet\) must be one of ilsvrc2012, .*folders"):
        listed(ilsvrc2012, layout="imagenet")


def test_an_archive_that_changed_since_it_was_listed_is_an_error(ilsvrc2012: Path) -> None:
    source = listed(ilsvrc2012)
    archive = ilsvrc2012 / "ILSVRC2012_img_train.tar"
    shutil.copyfile(archive, ilsvrc2012 / "copy")
    (ilsvrc2012 / "copy").replace(archive)
    with pytest.raises(FreelightError, match=r"img_train\.tar changed since it was listed"):
        source.read(source.splits["train"][0])


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_of_members_that_stand_twice_the_last_counts_and_the_summary_says_so(
    suffix: str, mini: Any, tar: Tar, tmp_path: Path
) -> None:
    """As `tar` unpacks them. Here a picture stands twice in one class tar, and another class tar stands twice."""
    twice, again, *others = mini.class_tars()
    wnid = twice[0].removesuffix(".tar")
    files = list(mini.train[wnid].items())
    classes = [(twice[0], tar([(files[0][0], b"an older version"), *files])), again, again, *others]
    path = tmp_path / f"fall11_whole.{suffix}"
    path.write_bytes(gzip.compress(tar(classes)) if suffix == "tar.gz" else tar(classes))
    made = make_shards(list_images(path), tmp_path / "out", TINY)
    assert made.splits["train"].samples == 12
    assert "12 samples of 4 classes" in (summary := "\n".join(summarize_dataset(made, tmp_path / "out")))
    assert "4 rejected" in summary
    doubled = [f"{twice[0]}/{files[0][0]}", *(f"{again[0]}/{name}" for name in mini.train[again[0][:-4]])]
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert sorted(line["path"] for line in lines) == sorted(f"{path.name}/{name}" for name in doubled)
    assert {line["reason"] for line in lines} == {"stands again later in the archive"}


def test_a_split_folder_beside_archives_is_named_as_not_used(ilsvrc2012: Path) -> None:
    """People unpack the validation archive there."""
    (ilsvrc2012 / "ILSVRC2012_img_val.tar").unlink()
    (ilsvrc2012 / "Validation").mkdir()
    source = listed(ilsvrc2012)
    assert source.notes == ("not used: Validation/, because the layout is not folders",)
    assert list(source.splits) == ["train", "test"]


def test_a_split_folder_beside_an_archive_read_in_order_is_named_too(mini: Any, tar: Tar, tmp_path: Path) -> None:
    (tmp_path / "fall11_whole.tar.gz").write_bytes(gzip.compress(tar(mini.class_tars())))
    (tmp_path / "val").mkdir()
    note = "not used: val/, because the layout is not folders"
    source = list_images(tmp_path)
    assert note in list(summarize_source(source, TINY))
    assert make_shards(source, tmp_path / "out", TINY).source["notes"] == [note]
