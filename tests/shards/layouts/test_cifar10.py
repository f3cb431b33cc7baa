"""CIFAR-10 is read as it is downloaded, and no pickle is run."""

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures import CIFAR_BATCHES, CIFAR_CLASSES, cifar_binary, cifar_pickled, draw_cifar, tar_of, write_cifar

from freelight.shards import Dataset, FreelightError, list_images, make_shards
from freelight.shards.images import Rescaling
from freelight.shards.layouts.plain_pickle import read_pickle
from freelight.shards.writing import ShardSettings

SETTINGS = ShardSettings(rescaling=Rescaling(size=32, quality=100, subsampling="4:4:4"), samples_per_shard=100)
FORMS = {"binary": cifar_binary, "python": cifar_pickled}


@pytest.fixture(scope="module")
def batches() -> dict[str, Any]:
    return draw_cifar()


def unpack(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_every_record_becomes_its_picture_and_label(form: str, batches: dict[str, Any], tmp_path: Path) -> None:
    """JPEG at quality 100 without subsampling differs from these random planes by a few grey levels."""
    path = write_cifar(FORMS[form](batches), tmp_path / "in", form)
    made = make_shards(list_images(path), tmp_path / "out", SETTINGS)
    assert [info.id for info in made.classes] == list(CIFAR_CLASSES)
    assert {name: split.samples for name, split in made.splits.items()} == {"train": 20, "val": 4}
    assert "test_batch is read as the split val: CIFAR-10 has no other" in made.source["notes"]
    dataset = Dataset(tmp_path / "out")
    for name in ("train", "val"):
        split = dataset.split(name)
        for index, source in enumerate(split.sources):
            archive, batch, number = source.split("/")
            labels, planes = batches[batch.removesuffix(".bin")]
            expected = planes[int(number)].reshape(3, 32, 32).transpose(1, 2, 0)
            pixels = np.asarray(split.decode(index, split.read(index)))
            assert np.abs(pixels.astype(int) - expected).mean() < 4
            assert made.classes[split.samples["label"][index]].id == CIFAR_CLASSES[labels[int(number)]]
            assert archive == path.name


def test_archives_and_folders_of_both_forms_make_the_same_shards(batches: dict[str, Any], tmp_path: Path) -> None:
    places = {name: write_cifar(write(batches), tmp_path / name, name).parent for name, write in FORMS.items()}
    places["unpacked"] = unpack(cifar_pickled(batches), tmp_path / "unpacked" / "cifar-10-batches-py").parent
    places["folder"] = unpack(cifar_binary(batches), tmp_path / "cifar-10-batches-bin")
    made = {name: make_shards(list_images(place), tmp_path / "out" / name, SETTINGS) for name, place in places.items()}
    assert {manifest.source["layout"] for manifest in made.values()} == {"cifar10"}
    assert len({manifest.fingerprint for manifest in made.values()}) == 1


def test_two_forms_in_one_folder_are_read_once(batches: dict[str, Any], tmp_path: Path) -> None:
    for name, write in FORMS.items():
        write_cifar(write(batches), tmp_path / "in", name)
    source = list_images(tmp_path / "in")
    assert "not used: cifar-10-python.tar.gz, because cifar-10-binary.tar.gz is there" in source.notes


def test_a_subset_of_classes_is_read(batches: dict[str, Any], tmp_path: Path) -> None:
    wanted = next(CIFAR_CLASSES[label] for label in batches["data_batch_1"][0])
    (tmp_path / "classes.txt").write_text(f"{wanted}\n")
    path = write_cifar(cifar_binary({**batches, "test_batch": batches["data_batch_1"]}), tmp_path / "in", "binary")
    made = make_shards(list_images(path, classes=tmp_path / "classes.txt"), tmp_path / "out", SETTINGS)
    assert [info.id for info in made.classes] == [wanted]


def test_a_label_that_does_not_exist_is_left_out(batches: dict[str, Any], tmp_path: Path) -> None:
    labels, planes = batches["data_batch_2"]
    path = write_cifar(
        cifar_binary({**batches, "data_batch_2": ([200, *labels[1:]], planes)}), tmp_path / "in", "binary"
    )
    made = make_shards(list_images(path), tmp_path / "out", SETTINGS)
    assert made.splits["train"].rejected == 1
    assert "has the label 200, not one of 0 to 9" in (tmp_path / "out" / "rejected.jsonl").read_text()


def edit(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def apply(files: dict[str, bytes]) -> dict[str, bytes]:
        changed = {file: change(data) if file == name else data for file, data in files.items()}
        assert changed != files
        return {file: data for file, data in changed.items() if data is not None}

    return apply


BAD: dict[str, tuple[str, Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "a batch is missing": ("binary", edit("data_batch_3.bin", lambda data: None), "has data_batch_3.bin 0 times"),
    "the meta is missing": ("python", edit("batches.meta", lambda data: None), "has batches.meta 0 times"),
    "a record is short": (
        "binary",
        edit("data_batch_3.bin", lambda data: data[:-1]),
        "data_batch_3.bin has 12291 bytes, not a number of records of 3073",
    ),
    "no records": ("binary", edit("test_batch.bin", lambda data: b""), "test_batch.bin has 0 bytes, not a number"),
    "nine classes": (
        "binary",
        edit("batches.meta.txt", lambda data: data.replace(b"truck", b"")),
        "batches.meta.txt does not hold the names of 10 classes",
    ),
    "a class twice": (
        "python",
        edit("batches.meta", lambda data: data.replace(b"'truck'", b"'ship'")),
        "batches.meta does not hold the names of 10 classes",
    ),
    "labels of another number": (
        "python",
        edit("data_batch_2", lambda data: data.replace(b"(K", b"(K\x01K", 1)),
        "data_batch_2 does not hold 'data' of 3072 bytes and a label per picture",
    ),
    "an array of another type": (
        "python",
        edit("data_batch_2", lambda data: data.replace(b"u1", b"u2")),
        "is no pickle of plain values (an array is not of uint8, row by row); it is not run",
    ),
    "an array of another shape": (
        "python",
        edit("data_batch_2", lambda data: data.replace(b"M\x00\x0c", b"M\x00\x0d")),
        "an array has not as many bytes as its shape says",
    ),
    "a cut pickle": ("python", edit("data_batch_2", lambda data: data[:-900]), "data_batch_2 is a damaged pickle"),
    "no pickle": ("python", edit("data_batch_2", lambda data: b"hello"), "data_batch_2 is "),
    "a large meta": ("binary", edit("batches.meta.txt", lambda data: bytes(70_000)), "has 70000 bytes; at most 65536"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_archive_is_one_line(name: str, batches: dict[str, Any], tmp_path: Path) -> None:
    form, change, message = BAD[name]
    path = write_cifar(change(FORMS[form](batches)), tmp_path / "in", form)
    with pytest.raises(FreelightError) as caught:
        make_shards(list_images(path), tmp_path / "out", SETTINGS)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_cut_short_is_one_line(batches: dict[str, Any], tmp_path: Path) -> None:
    path = write_cifar(cifar_binary(batches), tmp_path, "binary")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(FreelightError, match=r"cifar-10-binary\.tar\.gz is damaged or cut short"):
        list_images(path)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_something_is_refused(
    protocol: int, batches: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {**cifar_pickled(batches), "data_batch_1": pickle.dumps({"data": Evil(), "labels": [1]}, protocol)}
    path = write_cifar(files, tmp_path / "in", "python")
    with pytest.raises(FreelightError, match=r"data_batch_1 is no pickle of plain values \(it .*; it is not run"):
        make_shards(list_images(path), tmp_path / "out", SETTINGS)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cnumpy\nndarray\n(tR.",
        b"\x80\x02}(]]su.",
        b"(cnumpy.core.multiarray\n_reconstruct\nb.",
        b"\x80\x02]q\x01h\x01a",
        b"e.",
        b"u.",
        b"0.",
        b"h\x05.",
        b"NN.",
        b"\x80\x02" + b"T" + struct.pack("<i", -1) + b".",
        b"I" + b"9" * 5000 + b"\n.",
    ],
)
def test_the_reader_of_pickles_refuses_in_one_line(data: bytes) -> None:
    with pytest.raises(FreelightError, match="it is not run") as caught:
        read_pickle(data, "x")
    assert "\n" not in str(caught.value)


def test_the_reader_of_pickles_agrees_with_pythons_on_plain_values(batches: dict[str, Any]) -> None:
    """Also on the miniatures, which are by that what Python 2 and NumPy wrote."""
    value = {"a": [1, -2, 70000, True, None, ("x", (), (1, 2, 3, 4))], "b": {"c": [[]]}}
    for protocol in (0, 1, 2):
        assert read_pickle(pickle.dumps(value, protocol), "x") == value
    files = cifar_pickled(batches)
    for name in CIFAR_BATCHES:
        ours, pythons = read_pickle(files[name], name), pickle.loads(files[name], encoding="latin-1")
        assert ours.keys() == pythons.keys()
        assert np.array_equal(ours.pop("data"), pythons.pop("data"))
        assert ours == pythons
    assert read_pickle(files["batches.meta"], "x") == pickle.loads(files["batches.meta"])


def test_an_archive_of_another_name_is_recognised_by_its_content(batches: dict[str, Any], tmp_path: Path) -> None:
    path = write_cifar(cifar_binary(batches), tmp_path, "binary")
    path = path.rename(tmp_path / "data.tgz")
    assert list_images(path).layout == "cifar10"
    path.write_bytes(gzip.compress(tar_of([("a.txt", b"hello")])))
    with pytest.raises(FreelightError, match="holds neither class tars"):
        list_images(path)
