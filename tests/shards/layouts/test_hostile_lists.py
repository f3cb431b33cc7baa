"""A devkit or a list that is damaged, hostile or too large ends in one line."""

import gzip
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from miniatures import meta_mat, tar_of

from freelight.shards import FreelightError, ShardSettings, list_images, make_shards
from freelight.shards.layouts import read_devkit

MAT = meta_mat(2012, [(1, "n02119789", "kit fox", 0), (2, "n03126707", "crane", 0), (3, "n00001740", "entity", 2)])


def flipped() -> bytes:
    """One bit differs: the tag before "n02119789" says that the element's type is 24, which does not exist."""
    at = MAT.index(b"n02119789") - 8
    return MAT[:at] + bytes([MAT[at] ^ 0x08]) + MAT[at + 1 :]


def compressed(element: bytes) -> bytes:
    """A `meta.mat` with one compressed element."""
    data = zlib.compress(element, 9)
    return MAT[:128] + struct.pack("<II", 15, len(data)) + data


def huge_numbers(count: int) -> bytes:
    """An array `synsets` of doubles, all zero, as an element of a `.mat` file."""
    fields = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, count, 1) + struct.pack("<II", 1, 7)
    fields += b"synsets\0" + struct.pack("<II", 9, 8 * count)
    return struct.pack("<II", 14, len(fields) + 8 * count) + fields + bytes(8 * count)


def devkit(folder: Path, mat: bytes, truth: bytes = b"1\n2\n") -> Path:
    path = folder / "devkit.tar.gz"
    names = {"kit/data/meta.mat": mat, "kit/data/ILSVRC2012_validation_ground_truth.txt": truth}
    path.write_bytes(gzip.compress(tar_of(names.items()), 1))
    return path


def test_a_sound_devkit_is_read(tmp_path: Path) -> None:
    found = read_devkit(devkit(tmp_path, MAT), 2012)
    assert found.order == ("n02119789", "n03126707")
    assert found.names == {"n02119789": "kit fox", "n03126707": "crane"}
    assert found.validation == (1, 2)


@pytest.mark.parametrize(
    ("mat", "message"),
    [
        pytest.param(flipped(), "meta.mat is damaged: its reader ended with -11", id="crashes SciPy"),
        pytest.param(MAT[:700], "meta.mat cannot be read (", id="cut"),
        pytest.param(b"", "meta.mat cannot be read (", id="empty"),
        pytest.param(MAT[:128], "meta.mat cannot be read (KeyError: 'synsets')", id="no table"),
        pytest.param(MAT.replace(b"num_children", b"num_killdren"), "meta.mat cannot be read (", id="no field"),
        pytest.param(
            compressed(huge_numbers(80 << 20)),
            "meta.mat cannot be read (it takes more than 512 MiB)",
            id="640 MB",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_damaged_meta_mat_is_one_line(mat: bytes, message: str, tmp_path: Path) -> None:
    """SciPy's reader ends its process for one flipped byte, and a compressed table of 640 MB has 640 kB."""
    path = devkit(tmp_path, mat)
    with pytest.raises(FreelightError) as caught:
        read_devkit(path, 2012)
    assert f"{path}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_devkit_of_3_gb_is_not_read_whole(tmp_path: Path) -> None:
    info = tarfile.TarInfo("kit/data/meta.mat")
    info.size = 3 << 30
    (tmp_path / "devkit.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 20), 1))
    with pytest.raises(FreelightError, match=r"devkit\.tar\.gz has more than 67108864 bytes when unpacked"):
        read_devkit(tmp_path / "devkit.tar.gz", 2012)


def test_a_devkit_that_is_an_endless_stream_of_zeros_is_left_early(tmp_path: Path) -> None:
    data = tar_of([("kit/readme.txt", b"hello")]) + bytes(30 << 20)
    (tmp_path / "devkit.tar.gz").write_bytes(gzip.compress(data, 1))
    with pytest.raises(FreelightError, match="more than 16 MiB of zeros follow"):
        read_devkit(tmp_path / "devkit.tar.gz", 2012)


def test_a_link_in_a_devkit_is_skipped(tmp_path: Path) -> None:
    path = devkit(tmp_path, MAT)
    link = tarfile.TarInfo("kit/latest")
    link.type, link.linkname = tarfile.SYMTYPE, "data"
    path.write_bytes(gzip.compress(link.tobuf() + gzip.decompress(path.read_bytes()), 1))
    assert read_devkit(path, 2012).validation == (1, 2)


@pytest.mark.parametrize("truth", [b"1\n-2\n", b"1\n" + b"9" * 5000, b"1\n2_0\n", b"1\nmany\n", "1\n²".encode()])
def test_a_ground_truth_that_holds_no_number_is_one_short_line(truth: bytes, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"does not have one class number per line: number 2 is '") as caught:
        read_devkit(devkit(tmp_path, MAT, truth), 2012)
    assert len(str(caught.value)) < 400


def test_a_ground_truth_of_millions_of_numbers_is_not_read(tmp_path: Path) -> None:
    """30 million numbers took 40 s and 400 MB."""
    with pytest.raises(FreelightError, match="the ground truth has more than 4194304 bytes"):
        read_devkit(devkit(tmp_path, MAT, b"1\n" * (3 << 20)), 2012)


def too_large(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate((16 << 20) + 1)


@pytest.mark.parametrize("name", ["LOC_val_solution.csv", "LOC_synset_mapping.txt"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (too_large, "has more than 16777216 bytes"),
        (lambda path: path.write_bytes(b"\xff\xfe\0"), "is not UTF-8 text"),
        (
            lambda path: path.write_bytes(b'ImageId,PredictionString\n"' + b"x" * 200_000),
            "(field larger|expected '<class id>)",
        ),
    ],
)
def test_kaggles_lists_are_checked(name: str, damage: Callable[[Path], object], message: str, kaggle: Path) -> None:
    damage(kaggle / name)
    with pytest.raises(FreelightError, match=rf"{re.escape(name)}.*{message}"):
        list_images(kaggle)


def test_class_names_that_are_not_utf_8_are_one_line_also_for_a_source_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_bytes(b"n00000001\t\xff\n")
    inner = tar_of([("n00000001_1.JPEG", b"not read")])
    (tmp_path / "fall11_whole.tar.gz").write_bytes(gzip.compress(tar_of([("n00000001.tar", inner)])))
    source = list_images(tmp_path / "fall11_whole.tar.gz", class_names=tmp_path / "names.tsv")
    with pytest.raises(FreelightError, match=r"names\.tsv is not UTF-8 text"):
        make_shards(source, tmp_path / "out", ShardSettings())
