"""A hostile or damaged tar ends in one line that names it: plain, within another tar, and within a tar.gz."""

import gzip
import itertools
import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from freelight.shards import FreelightError, ShardSettings, list_images, make_shards
from freelight.shards.sources import TarGzPiece, open_tar, walk_tar

END = bytes(1024)


def header(name: str, size: int = 0, kind: bytes = b"0", digits: bytes | None = None) -> bytes:
    """A header whose size field holds `digits`, with the right checksum."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
    block[124:136] = b"%011o\0" % size if digits is None else digits
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def records(data: bytes) -> bytes:
    """A pax header with these records, and the member that they describe."""
    return header("pax", len(data), b"x") + padded(data) + header("a.jpg")


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


SIZE, RECORDS = "has no valid size", "is damaged: bad pax records at byte"
HOSTILE = {
    "negative octal": (header("a.jpg", digits=b"-0000001000\0"), SIZE),
    "octal with nines": (header("a.jpg", digits=b"99999999999\0"), SIZE),
    "octal with underscores": (header("a.jpg", digits=b"0000000_100\0"), SIZE),
    "base 256, negative": (header("a.jpg", digits=b"\xff" * 10 + b"\xfe\x00"), SIZE),
    "base 256, 95 bits": (header("a.jpg", digits=b"\x80" + b"\x7f" * 11), SIZE),
    "base 256, 64 bits": (header("a.jpg", digits=b"\x80\0\0\0" + struct.pack(">Q", 2**64 - 1024)), "is cut short"),
    "octal, 8 GiB": (header("a.jpg", digits=b"77777777777\0"), "is cut short"),
    "pax size, negative": (records(record(b"size", b"-1536")), RECORDS),
    "pax size, 30 digits": (records(record(b"size", b"9" * 30)), RECORDS),
    "pax size, 5000 digits": (records(record(b"size", b"9" * 5000)), RECORDS),
    "pax size, words": (records(record(b"size", b"many")), RECORDS),
    "pax size, 8 TB": (records(record(b"size", b"8000000000000")), "is cut short"),
    "pax record of length 0": (records(b"0 path=a\n"), RECORDS),
    "pax record of negative length": (records(b"-5 path=a\n"), RECORDS),
    "pax record without a length": (records(b"abcdefghi"), RECORDS),
    "pax record longer than all": (records(b"90 path=a\n"), RECORDS),
    **{
        f"8 GB of {kind.decode()}": (
            header("a.jpg", 2**33 - 1, kind) + padded(b"10 path=a\n"),
            "declares 8589934591 bytes of names or records at byte",
        )
        for kind in (b"x", b"g", b"L", b"K")
    },
    "GNU name that is missing": (header("a.jpg", 1 << 20, b"L"), "is cut short"),
    "GNU name with a line break": (
        header("long", 10, b"L") + padded(b"a\nb.jpg") + header("a.jpg"),
        r"holds a name with a line break or a zero byte, 'a\nb.jpg'",
    ),
    "pax name with a zero byte": (records(record(b"path", b"a\0b")), r"a zero byte, 'a\x00b'"),
    "GNU name of 5000 bytes": (
        header("long", 5000, b"L") + padded(b"n" * 5000) + header("a.jpg"),
        "holds a name of 5000 characters",
    ),
    "GNU sparse": (header("a.jpg", 512, b"S") + bytes(512), "holds the link, device or sparse file 'a.jpg'"),
    "pax sparse": (records(record(b"GNU.sparse.realsize", b"20000000000")), "holds a sparse file at byte"),
}


def names_in(way: str, data: bytes, folder: Path) -> list[str]:
    """Read a tar in one of three ways; at most 100 members, so that a walk without end fails a test."""
    path = folder / "it.tar"
    path.write_bytes(gzip.compress(data) if way == "gz" else data)
    names: Iterator[str]
    if way == "plain":
        names = (member.name for member, _ in open_tar(path))
    elif way == "nested":
        stored = b"x" * 512 + data
        names = (member.name for member in walk_tar(lambda at, n: stored[at : at + n], path, 512, len(stored)))
    else:
        names = (picture.path for picture in TarGzPiece("train", path.name, lambda name: None).read(folder, None))
    return list(itertools.islice(names, 100))


WAYS = pytest.mark.parametrize("way", ["plain", "nested", "gz"])


@WAYS
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_one_line_that_names_the_tar(name: str, way: str, tmp_path: Path) -> None:
    data, message = HOSTILE[name]
    with pytest.raises(FreelightError) as caught:
        names_in(way, data + END, tmp_path)
    text = str(caught.value)
    assert f"{tmp_path}/it.tar" in text
    assert message in text
    assert "\n" not in text


@WAYS
def test_headers_without_content_never_stop_the_walk(way: str, tmp_path: Path) -> None:
    assert names_in(way, header("pax", 0, b"x") * 2000 + END, tmp_path) == []


@WAYS
def test_names_and_pax_records_up_to_their_limits_are_read(way: str, tmp_path: Path) -> None:
    name = b"n" * 4000 + b".jpg"
    data = records(record(b"comment", b"c" * ((1 << 20) - 5000)) + record(b"path", name)) + END
    assert [Path(found).name for found in names_in(way, data, tmp_path)] == [name.decode()]


def tar(*names: str) -> bytes:
    return b"".join(header(name, 3) + padded(b"abc") for name in names)


@WAYS
def test_what_follows_the_end_mark_is_named(way: str, tmp_path: Path) -> None:
    """`cat a.tar b.tar`: the second half was lost without a word."""
    with pytest.raises(FreelightError, match=r"it\.tar ends at byte \d+, but more data follows at byte \d+: .*joined"):
        names_in(way, tar("a.jpg") + bytes(10240) + tar("b.jpg") + END, tmp_path)


@WAYS
def test_padding_after_the_end_mark_is_none_of_that(way: str, tmp_path: Path) -> None:
    assert [Path(name).name for name in names_in(way, tar("a.jpg") + bytes(2 << 20), tmp_path)] == ["a.jpg"]


@WAYS
def test_far_too_much_padding_is_an_archive_that_was_not_fetched_whole(way: str, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match="more than 16 MiB of zeros follow"):
        names_in(way, tar("a.jpg") + bytes(20 << 20), tmp_path)


def test_a_picture_in_a_tar_gz_over_the_limit_is_left_out_with_the_reason(tmp_path: Path) -> None:
    size = (128 << 20) + 1
    data = header("big.jpg", size) + bytes(-(-size // 512) * 512) + tar("a.jpg") + END
    (tmp_path / "it.tar").write_bytes(gzip.compress(data, 1))
    pictures = list(TarGzPiece("train", "it.tar", lambda name: None).read(tmp_path, None))
    assert [(picture.path, len(picture.data), picture.left_out) for picture in pictures] == [
        ("it.tar/big.jpg", 0, "has 134217729 bytes; a picture within an archive may have 128 MiB"),
        ("it.tar/a.jpg", 3, ""),
    ]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_named_pipe_instead_of_an_archive_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"train_images.{suffix}")
    with pytest.raises(FreelightError, match=rf"train_images\.{suffix} is not a regular file"):
        make_shards(list_images(tmp_path), tmp_path / "out", ShardSettings())
