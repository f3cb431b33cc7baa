"""A miniature ImageNet: four classes, from which each test builds one layout in its real format."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from freelight.demo.drawing import draw_picture
from freelight.shards import Source

WNIDS = ("n01440764", "n01751748", "n02119789", "n03126707")
NUMBERS = {"n02119789": 1, "n03126707": 2, "n01751748": 3, "n01440764": 4}
"""The devkit's order: neither sorted nor by name."""
NAMES = {"n01440764": "tench", "n01751748": "sea snake", "n02119789": "kit fox", "n03126707": "crane"}


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    draw_picture(seed % 10, np.random.default_rng(seed), (40 + seed % 7, 33)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def tar_of(members: Iterable[tuple[str, bytes]], format: int = tarfile.GNU_FORMAT) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.endswith("/"):
                info.type, info.size = tarfile.DIRTYPE, 0
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass(frozen=True)
class Miniature:
    """train: wnid -> name -> JPEG; val: (wnid, JPEG) for numbers 1, 2, ...; test: JPEG for numbers 1, 2, ..."""

    train: dict[str, dict[str, bytes]]
    val: tuple[tuple[str, bytes], ...]
    test: tuple[bytes, ...]

    def class_tars(self) -> list[tuple[str, bytes]]:
        """A tar for each class, the classes and their members out of order, as in the real archive."""
        return [
            (f"{wnid}.tar", tar_of(reversed(list(files.items())))) for wnid, files in reversed(list(self.train.items()))
        ]

    def devkit(self, year: int, *, top: str, truth: Iterable[str] | None = None) -> bytes:
        """The devkit's tar.gz: meta.mat with inner nodes of WordNet after the leaves, and the ground truth."""
        wnids = [wnid for wnid, _ in self.val] if truth is None else truth
        numbers = "".join(f"{NUMBERS[wnid]}\n" for wnid in wnids).encode()
        leaves = sorted((number, wnid, NAMES[wnid], 0) for wnid, number in NUMBERS.items())
        mat = meta_mat(year, [*leaves, (5, "n00001740", "entity", 3), (6, "n00015388", "animal", 2)])
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, data in (
                (f"{top}/readme.txt", b"hello"),
                (f"{top}/data/meta.mat", mat),
                (f"{top}/data/ILSVRC{year}_validation_ground_truth.txt", numbers),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def meta_mat(year: int, rows: list[tuple[int, str, str, int]]) -> bytes:
    fields = [f"ILSVRC{year}_ID", "WNID", "words", "num_children"]
    table = np.zeros((len(rows), 1), dtype=[(name, object) for name in fields])
    for place, row in enumerate(rows):
        table[place, 0] = row
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": table})
    return buffer.getvalue()


def draw_mini() -> Miniature:
    train = {
        wnid: {f"{wnid}_{number}.JPEG": jpeg(10 * place + number) for number in (2, 10, 7)}
        for place, wnid in enumerate(WNIDS)
    }
    val = tuple((WNIDS[place], jpeg(100 + number)) for number, place in enumerate((1, 3, 0, 2, 1, 0)))
    return Miniature(train, val, tuple(jpeg(200 + number) for number in range(3)))


@pytest.fixture(scope="session")
def mini() -> Miniature:
    return draw_mini()


Contents = dict[str, list[tuple[str | None, bytes]]]


@pytest.fixture(scope="session")
def expected(mini: Miniature) -> Contents:
    """Split -> sorted (wnid or None, JPEG bytes), which every layout of the miniature must give."""
    return {
        "train": sorted((wnid, data) for wnid, files in mini.train.items() for data in files.values()),
        "val": sorted(mini.val),
        "test": sorted((None, data) for data in mini.test),
    }


def contents(source: Source) -> Contents:
    return {
        split: sorted(
            ((source.classes[image.label].id if image.label >= 0 else None), source.read(image)) for image in images
        )
        for split, images in source.splits.items()
    }


@pytest.fixture(scope="session")
def contents_of() -> object:
    """The function that reads a source whole, to compare with `expected`."""
    return contents


@pytest.fixture(scope="session")
def tar() -> object:
    """The function that packs (name, bytes) pairs into a tar."""
    return tar_of


def write_ilsvrc2012(mini: Miniature, folder: Path) -> Path:
    """The official archives of 2012; val's tar order is not name order."""
    folder.mkdir()
    (folder / "ILSVRC2012_img_train.tar").write_bytes(tar_of(mini.class_tars()))
    val = [(f"ILSVRC2012_val_{number:08d}.JPEG", data) for number, (_, data) in enumerate(mini.val, 1)]
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar_of(val[::2] + val[1::2]))
    test = [(f"test/ILSVRC2012_test_{number:08d}.JPEG", data) for number, data in enumerate(mini.test, 1)]
    (folder / "ILSVRC2012_img_test_v10102019.tar").write_bytes(tar_of([("test/", b""), *test]))
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(mini.devkit(2012, top="ILSVRC2012_devkit_t12"))
    return folder


@pytest.fixture
def ilsvrc2012(mini: Miniature, tmp_path: Path) -> Path:
    return write_ilsvrc2012(mini, tmp_path / "ilsvrc2012")


def write_ilsvrc2010(mini: Miniature, folder: Path) -> Path:
    """The archives of 2010: val/ prefix, labels for test, and a patch for a gzipped picture."""
    folder.mkdir()
    wrong = {wnid: dict(files) for wnid, files in mini.train.items()}
    wrong["n02119789"]["n02119789_7.JPEG"] = b"a bad picture"
    bad = Miniature(wrong, mini.val, mini.test)
    (folder / "ILSVRC2010_images_train.tar").write_bytes(tar_of(bad.class_tars()))
    patch = [("patch_images/", b""), ("patch_images/n02119789_7.JPEG", mini.train["n02119789"]["n02119789_7.JPEG"])]
    (folder / "patch_images.tar").write_bytes(tar_of([*patch, ("patch_images/n09999999_1.JPEG", b"of no class here")]))
    val = [(f"val/ILSVRC2010_val_{number:08d}.JPEG", data) for number, (_, data) in enumerate(mini.val, 1)]
    (folder / "ILSVRC2010_images_val.tar").write_bytes(tar_of([("val/", b""), *val]))
    test = [(f"test/ILSVRC2010_test_{number:08d}.JPEG", data) for number, data in enumerate(mini.test, 1)]
    (folder / "ILSVRC2010_images_test.tar").write_bytes(tar_of([("test/", b""), *test]))
    (folder / "ILSVRC2010_devkit-1.0.tar.gz").write_bytes(mini.devkit(2010, top="devkit-1.0"))
    (folder / "ILSVRC2010_test_ground_truth.txt").write_text("2\n4\n4\n")
    return folder


@pytest.fixture
def ilsvrc2010(mini: Miniature, tmp_path: Path) -> Path:
    return write_ilsvrc2010(mini, tmp_path / "ilsvrc2010")


def write_kaggle(mini: Miniature, folder: Path) -> Path:
    """Kaggle's tree and CSVs; a prediction string has boxes after the label."""
    tree = folder / "ILSVRC" / "Data" / "CLS-LOC"
    for wnid, files in mini.train.items():
        (tree / "train" / wnid).mkdir(parents=True)
        for name, data in files.items():
            (tree / "train" / wnid / name).write_bytes(data)
    rows = ["ImageId,PredictionString"]
    (tree / "val").mkdir()
    for number, (wnid, data) in enumerate(mini.val, 1):
        (tree / "val" / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(data)
        rows.insert(1, f"ILSVRC2012_val_{number:08d},{wnid} 1 2 30 40 {wnid} 5 6 7 8 ")
    (tree / "test").mkdir()
    for number, data in enumerate(mini.test, 1):
        (tree / "test" / f"ILSVRC2012_test_{number:08d}.JPEG").write_bytes(data)
    (folder / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    (folder / "LOC_synset_mapping.txt").write_text(
        "".join(f"{wnid} {name}, and more\n" for wnid, name in NAMES.items())
    )
    return folder


@pytest.fixture
def kaggle(mini: Miniature, tmp_path: Path) -> Path:
    return write_kaggle(mini, tmp_path / "kaggle")


def write_webdataset(mini: Miniature, folder: Path) -> Path:
    """Three tars a split, as timm's imagenet-1k-wds: keys of train begin with the wnid, labels are sorted wnids'."""
    folder.mkdir()
    train = [
        (path.removesuffix(".JPEG"), wnid, data) for wnid, files in mini.train.items() for path, data in files.items()
    ]
    val = [(f"ILSVRC2012_val_{number:08d}", wnid, data) for number, (wnid, data) in enumerate(mini.val, 1)]
    for split, samples in (("train", train[::2] + train[1::2]), ("validation", val)):
        for shard in range(3):
            members = [
                member
                for key, wnid, data in samples[shard::3]
                for member in (
                    (f"{key}.cls", str(WNIDS.index(wnid)).encode()),
                    (f"{key}.jpg", data),
                    (f"{key}.json", json.dumps({"label": WNIDS.index(wnid), "filename": f"{key}.JPEG"}).encode()),
                )
            ]
            (folder / f"imagenet1k-{split}-{shard:04d}.tar").write_bytes(tar_of(members))
    return folder


@pytest.fixture
def webdataset(mini: Miniature, tmp_path: Path) -> Path:
    return write_webdataset(mini, tmp_path / "webdataset")


CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
Batch = tuple[list[int], np.ndarray]


def draw_cifar(records: int = 4) -> dict[str, Batch]:
    """Labels, and planes as uint8 (records, 3072), of every batch. Ten records of train have all labels."""
    generator = np.random.default_rng(0)
    return {
        name: (
            [3 * place % 10 for place in range(number * records, (number + 1) * records)],
            generator.integers(0, 256, (records, 3072), np.uint8),
        )
        for number, name in enumerate(CIFAR_BATCHES)
    }


def cifar_binary(batches: dict[str, Batch]) -> dict[str, bytes]:
    """The files of cifar-10-binary.tar.gz."""
    files = {
        f"{name}.bin": b"".join(bytes([label]) + planes.tobytes() for label, planes in zip(*batch, strict=True))
        for name, batch in batches.items()
    }
    return {"data_batch_1.bin": files.pop("data_batch_1.bin"), "readme.html": b"<html>", **files} | {
        "batches.meta.txt": "".join(f"{name}\n" for name in (*CIFAR_CLASSES, "")).encode()
    }


def _text_2(value: str | bytes) -> bytes:
    """A text as Python 2 pickles it with protocol 2."""
    data = value if isinstance(value, bytes) else value.encode()
    return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data


def cifar_pickled(batches: dict[str, Batch]) -> dict[str, bytes]:
    """The files of cifar-10-python.tar.gz, as Python 2 and its NumPy wrote them: batches in protocol 2, meta in 0."""
    files = {}
    for number, (name, (labels, planes)) in enumerate(batches.items(), 1):
        numbers = b"".join(b"K" + bytes([label]) for label in labels)
        names = b"".join(_text_2(f"picture_s_{place:06d}.png") + b"q%c" % (20 + place) for place in range(len(labels)))
        dtype = b"cnumpy\ndtype\nq\x0aU\x02u1q\x0bK\x00K\x01\x87q\x0cRq\x0d"
        dtype += b"(K\x03U\x01|q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        files[name] = b"".join(
            (
                b"\x80\x02}q\x01(U\x0bbatch_labelq\x02" + _text_2(f"training batch {number} of 5") + b"q\x03",
                b"U\x06labelsq\x04]q\x05(" + numbers + b"e",
                b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09",
                b"(K\x01M" + struct.pack("<H", len(labels)) + b"M\x00\x0c\x86" + dtype + b"\x89",
                _text_2(planes.tobytes()) + b"r\x00\x01\x00\x00tbU\tfilenamesq\x0f]q\x10(" + names + b"eu.",
            )
        )
    words = "".join(f"S'{name}'\np{place}\na" for place, name in enumerate(CIFAR_CLASSES, 4))
    meta = f"(dp1\nS'num_cases_per_batch'\np2\nI10000\nsS'label_names'\np3\n(lp14\n{words}sS'num_vis'\np15\nI3072\ns."
    return {**files, "batches.meta": meta.encode(), "readme.html": b"<html>"}


def write_cifar(files: dict[str, bytes], folder: Path, name: str) -> Path:
    """The archive of a form, "binary" or "python"."""
    folder.mkdir(exist_ok=True)
    top = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[name]
    path = folder / f"cifar-10-{name}.tar.gz"
    members = [(f"{top}/", b""), *((f"{top}/{file}", data) for file, data in files.items())]
    path.write_bytes(gzip.compress(tar_of(members), 1, mtime=0))
    return path


def write_tiny_imagenet(mini: Miniature, folder: Path) -> Path:
    """The tree of tiny-imagenet-200.zip; `words.txt` has all of WordNet, and `wnids.txt` is not sorted."""
    root = folder / "tiny-imagenet-200"
    for wnid, files in mini.train.items():
        images = root / "train" / wnid / "images"
        images.mkdir(parents=True)
        for name, data in files.items():
            (images / name).write_bytes(data)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(f"{name}\t0\t1\t20\t30\n" for name in files))
    for split, pictures in (("val", [data for _, data in mini.val]), ("test", mini.test)):
        (root / split / "images").mkdir(parents=True)
        for number, data in enumerate(pictures):
            (root / split / "images" / f"{split}_{number}.JPEG").write_bytes(data)
    rows = [f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n" for number, (wnid, _) in enumerate(mini.val)]
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(WNIDS)))
    names = {"n00001740": "entity", **NAMES, "n00001930": "physical entity"}
    (root / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in names.items()))
    return folder


@pytest.fixture
def tiny_imagenet(mini: Miniature, tmp_path: Path) -> Path:
    return write_tiny_imagenet(mini, tmp_path / "tiny")
