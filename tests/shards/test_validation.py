"""What a file holds is checked before it is used: one error names file, field, value and remedy; no memory is taken."""

import io
import json
import os
import resource
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from freelight.shards import FreelightError
from freelight.shards.base import (
    Array,
    Check,
    anything,
    flag,
    integer,
    list_of,
    map_array,
    mapping,
    nullable,
    number,
    one_of,
    parse_json,
    plain_name,
    read_array,
    read_arrays,
    read_json,
    record,
    sha256_text,
    text,
)

ESCAPES = ["../up", "/etc/passwd", "/../../home/.bash_login", ".hidden", "a/b", "a\\b", "", "nul\0", "new\nline", "ä"]

# JSON.


@pytest.mark.parametrize(
    ("check", "good", "bad", "wanted"),
    [
        (flag, [True, False], [0, 1, None, "true"], "true or false"),
        (integer(least=1, most=9), [1, 9], [0, 10, -1, 1.0, True, "3", None, 10**40], r"an integer in 1\.\.9"),
        (number(least=0), [0, 0.5, 7], [True, "1", None], "a number"),
        (number(least=0, most=1), [0, 0.5, 1], [-0.1, 2, 1e400], r"a finite number in 0\.\.1"),
        (number(), [-1e300, 5], [1e400, -1e400], "a finite number;"),
        (text(), ["", "x"], [1, None, ["x"]], "a string"),
        (text(empty=False), ["x"], ["", 1], "a string that is not empty"),
        (one_of("wnid", "ilsvrc"), ["wnid"], ["", "wnid2", 1, None, ["wnid"]], "one of wnid, ilsvrc"),
        (sha256_text, ["0" * 64], ["0" * 63, "0" * 65, "G" * 64, "A" * 64, 0, None], "a sha256 of 64"),
        (plain_name, ["a", "train-000000.tar", "-_."], [*ESCAPES, 7, None], "a name of letters"),
        (nullable(flag), [None, True], [0], "true or false"),
        (anything, [None, [1], {"a": 2}], [], ""),
    ],
)
def test_a_value_has_its_type_and_range(check: Check, good: list[Any], bad: list[Any], wanted: str) -> None:
    def parse(value: object) -> None:
        content = json.dumps({"it": value}).replace("Infinity", "1e999")
        parse_json(content.encode(), record({"it": check}), where="F", remedy="R")

    for value in good:
        parse(value)
    for value in bad:
        with pytest.raises(FreelightError, match=f"^F: it .* must be .*{wanted}") as caught:
            parse(value)
        assert str(caught.value).endswith("; R")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": {"x": [1, "2"]}}, r"F: a\.x\[1\] \(='2'\) must be an integer in 0\.\.9; R"),
        ({"a": {"x": 1}}, r"F: a\.x \(=1\) must be a list; R"),
        ({"a": {".x": []}}, r"F: a key of a \(='\.x'\) must be a name .*; R"),
        ({"a": []}, r"F: a \(=\[\]\) must be an object; R"),
        ({}, "F: a is missing; R"),
        ({"a": {}, "c": 1}, "F: c is unknown to this version; R"),
        ({"a": {}, "\x1b[2J" + "y" * 500: 1}, r"F: '\\x1b.{20,90}\.\.\..* is unknown to this version; R"),
        ([{}], r"F: the content \(=\[\{\}\]\) must be an object; R"),
        ({"a": {}, "b": 7}, r"F: b \(=7\) must be a string; R"),
    ],
)
def test_the_field_is_named_by_its_place(content: object, message: str) -> None:
    expected = record({"a": mapping(list_of(integer(most=9)), keys=plain_name)}, {"b": text()})
    with pytest.raises(FreelightError, match=f"^{message}$"):
        parse_json(json.dumps(content).encode(), expected, where="F", remedy="R")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[NaN]", b"[-Infinity]", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xef\xbb\xbf{}"],
    ids=["empty", "cut", "binary", "nan", "infinity", "deep-list", "deep-object", "digits", "mark"],
)
def test_what_is_not_json_is_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(data)
    with pytest.raises(FreelightError, match=r"f\.json is not valid JSON \(.*\); R$"):
        read_json(tmp_path / "f.json", anything, remedy="R")


def test_a_file_that_is_too_large_or_no_file_is_not_read(tmp_path: Path) -> None:
    """A named pipe would wait for a writer for ever."""
    path = tmp_path / "f.json"
    with pytest.raises(FileNotFoundError):
        read_json(path, anything, remedy="R")
    path.write_bytes(b" " * 100 + b"1")
    assert read_json(path, anything, remedy="R", limit=101) == 1
    with pytest.raises(FreelightError, match=r"f\.json has more than 100 bytes.*; R"):
        read_json(path, anything, remedy="R", limit=100)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FreelightError, match="is not a regular file; R"):
            read_json(other, anything, remedy="R")


# Arrays.

TABLE = np.array([(1, 2.5), (3, 4.5)], [("a", "<u4"), ("b", "<f8")])


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def declare(header: str, body: bytes = b"") -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + body


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.arange(6.0).reshape(2, 3), Array(np.float64, (2, 3))),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), Array(np.float64, ("n", 3))),
        (TABLE, Array(TABLE.dtype, ("rows",))),
        (np.zeros((0, 3), np.int64), Array(np.int64, ("n", 3))),
        (np.array("fc7"), Array(np.str_, ())),
        (np.array(["a", "longer"]), Array(np.str_, ("n",))),
        (np.array([True]), Array(np.bool_, (1,))),
        (np.random.default_rng(0).random((300, 300)), Array(np.float64, ("n", "n"))),
    ],
)
def test_a_sound_array_is_read_as_numpy_reads_it(array: Any, expected: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", it=array, other=np.array([object()]))
    found = [
        read_array(tmp_path / "a.npy", expected, remedy="R"),
        read_arrays(tmp_path / "a.npz", {"it": expected}, remedy="R")["it"],
        map_array(tmp_path / "a.npy", expected, remedy="R"),
    ]
    for one in found:
        assert one.dtype == array.dtype
        np.testing.assert_array_equal(one, array)
    assert found[0].flags.writeable
    assert found[1].flags.writeable


F8 = Array(np.float64, ("rows", 3))
HEADER = "{{'descr': '<f8', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an array of numpy.save"),
        (b"x" * 900, "is not an array of numpy.save"),
        (npy(np.zeros((2, 3)))[:100], "has a damaged header"),
        (npy(np.zeros((2, 3)))[:-1], r"does not have the bytes that its shape \(2, 3\) needs"),
        (npy(np.zeros((2, 3))) + b"\0", "does not have the bytes"),
        (npy(np.zeros((2, 3), np.float32)), "holds '<f4', not float64"),
        (npy(np.zeros((2, 3), ">f8")), "holds '>f8', not float64"),
        (npy(np.array([[object()] * 3])), r"holds '\|O', not float64"),
        (npy(np.zeros(3)), r"has the shape \(3,\), not \(rows, 3\)"),
        (npy(np.zeros((3, 2))), r"has the shape \(3, 2\), not \(rows, 3\)"),
        (npy(np.array([[0, np.nan, 0]])), r"has values that are not finite"),
        (npy(np.array([[0, -np.inf, 0]])), r"has values that are not finite"),
        (declare(HEADER.format("(1000000000000, 3)")), r"does not have the bytes that its shape \(1000000000000, 3\)"),
        (declare(HEADER.format("(-1, 3)")), "has a damaged header"),
        (declare(HEADER.format(f"({'9' * 60}, 3)")), "declares a length of 60 digits"),
        (declare(HEADER.format("(2, 3), 'more': 1")), "has a damaged header"),
        (declare("{'descr': ((((((("), "has a damaged header"),
        (declare("[].__class__"), "has a damaged header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"{" * 900, "has a damaged header"),
        (b"\x93NUMPY\x09\x00" + b"{" * 900, "is not an array of numpy.save"),
    ],
)
def test_another_array_is_one_line_and_takes_no_memory(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("it.npy", data)
    tracemalloc.start()
    with pytest.raises(FreelightError, match=rf"a\.npy {message}.*; R$"):
        read_array(tmp_path / "a.npy", F8, remedy="R")
    with pytest.raises(FreelightError, match=rf"a\.npz: it {message}.*; R$"):
        read_arrays(tmp_path / "a.npz", {"it": F8}, remedy="R")
    if "finite" not in message:  # a mapped file may exceed memory, so its values are not read
        with pytest.raises(FreelightError, match=rf"a\.npy {message}.*; R$"):
            map_array(tmp_path / "a.npy", F8, remedy="R")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6


def test_equal_names_stand_for_equal_lengths_in_all_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    expected = {"names": Array(np.str_, ("networks",)), "values": Array(np.float32, ("networks", "samples"))}
    np.savez(path, names=["a", "b"], values=np.zeros((2, 5), np.float32))
    assert read_arrays(path, expected, remedy="R")["values"].shape == (2, 5)
    np.savez(path, names=["a", "b"], values=np.zeros((3, 5), np.float32))
    with pytest.raises(FreelightError, match=r"values has the shape \(3, 5\), not \(networks \(=2\), samples\); R"):
        read_arrays(path, expected, remedy="R")
    with pytest.raises(FreelightError, match=r"a\.npz has no array 'more'; R"):
        read_arrays(path, {"more": F8}, remedy="R")


def test_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """`item()` would raise an error of its own."""
    np.save(tmp_path / "a.npy", np.array([0x110000], np.uint32).view("<U1"))
    with pytest.raises(FreelightError, match=r"a\.npy is not text; R"):
        read_array(tmp_path / "a.npy", Array(np.str_, ("n",)), remedy="R")


def test_a_compressed_array_is_not_unpacked(tmp_path: Path) -> None:
    """300 kB of zeros may stand for 300 MB."""
    np.savez_compressed(tmp_path / "a.npz", it=np.zeros((100_000, 3)))
    with pytest.raises(FreelightError, match=r"it is compressed, or longer than the file; R"):
        read_arrays(tmp_path / "a.npz", {"it": F8}, remedy="R")


def test_any_flipped_byte_of_an_archive_is_found_or_harmless(tmp_path: Path) -> None:
    """zipfile's errors have many types; each must become one line."""
    np.savez(tmp_path / "a.npz", it=np.ones((4, 3)))
    sound = (tmp_path / "a.npz").read_bytes()
    refused = 0
    for place in range(len(sound)):
        for mask in (0x01, 0xFF):
            data = bytearray(sound)
            data[place] ^= mask
            (tmp_path / "a.npz").write_bytes(data)
            try:
                found = read_arrays(tmp_path / "a.npz", {"it": F8}, remedy="R")
            except FreelightError:
                refused += 1
            else:
                assert (found["it"] == 1).all()
    assert refused > len(sound)


def test_an_array_that_does_not_fit_into_memory_is_one_line(tmp_path: Path) -> None:
    """A sparse file of 192 GiB whose header is right."""
    path = tmp_path / "a.npy"
    path.write_bytes(declare(HEADER.format(f"({2**33}, 3)")))
    size = path.stat().st_size + 24 * 2**33
    os.truncate(path, size)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**36, before[1]))
    try:
        with pytest.raises(FreelightError, match=rf"a\.npy has {size} bytes, which do not fit into memory; R"):
            read_array(path, F8, remedy="R")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
