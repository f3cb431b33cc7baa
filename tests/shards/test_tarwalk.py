"""The walk over tar headers finds what `tarfile` finds, and follows no link out of the archive."""

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from freelight.shards import FreelightError
from freelight.shards.sources import open_tar

NAMES = ["short.jpg", "a/" * 60 + "deep.jpg", "x" * 150 + ".jpg", "ümlaut/é.jpg", "../../etc/passwd", "/absolute.jpg"]


def write(path: Path, format: int, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:  # noqa: A002
    with tarfile.open(path, "w", format=format) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def members(path: Path) -> list[tuple[str, bytes]]:
    return [(member.name, read_at(member.offset, member.bytes)) for member, read_at in open_tar(path)]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_names_and_contents_are_those_that_tarfile_finds(format: int, tmp_path: Path) -> None:  # noqa: A002
    names = [name for name in NAMES if format != tarfile.USTAR_FORMAT or (name.isascii() and "x" * 150 not in name)]
    files = [(tarfile.TarInfo(name), bytes([place]) * (700 * place)) for place, name in enumerate(names)]
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    write(tmp_path / "it.tar", format, [(folder, b""), *files])
    with tarfile.open(tmp_path / "it.tar") as tar:
        expected = [(member.name, tar.extractfile(member).read()) for member in tar if member.isfile()]  # type: ignore[union-attr]
    assert members(tmp_path / "it.tar") == expected
    assert len(expected) == len(names)


def test_gnu_tars_own_archives_are_read(tmp_path: Path) -> None:
    (tmp_path / ("y" * 120)).write_bytes(b"long")
    (tmp_path / "z").write_bytes(b"")
    subprocess.run(["tar", "-cf", "it.tar", "y" * 120, "z"], cwd=tmp_path, check=True)
    assert members(tmp_path / "it.tar") == [("y" * 120, b"long"), ("z", b"")]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_link_or_a_device_is_an_error_not_followed(kind: bytes, tmp_path: Path) -> None:
    link = tarfile.TarInfo("innocent.jpg")
    link.type, link.linkname = kind, "/etc/passwd"
    write(tmp_path / "it.tar", tarfile.GNU_FORMAT, [(link, b"")])
    with pytest.raises(FreelightError, match=r"holds the link, device or sparse file 'innocent\.jpg'; it is not read"):
        members(tmp_path / "it.tar")


@pytest.mark.parametrize("keep", [700, 1024, 2048, 5 * 512])
def test_an_archive_cut_short_is_an_error_wherever_the_cut(keep: int, tmp_path: Path) -> None:
    files = [(tarfile.TarInfo(f"{k}.jpg"), bytes(600)) for k in range(3)]
    write(tmp_path / "it.tar", tarfile.GNU_FORMAT, files)
    data = (tmp_path / "it.tar").read_bytes()[:keep]
    (tmp_path / "it.tar").write_bytes(data)
    with pytest.raises(FreelightError, match="cut short"):
        members(tmp_path / "it.tar")


def test_what_is_no_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "it.tar").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(FreelightError, match=re.escape(f"{tmp_path}/it.tar is not a tar, or is damaged, at byte 0")):
        members(tmp_path / "it.tar")


LISTING = """
import sys, time
from pathlib import Path
from freelight.benchmarks.memory import peak_memory_mb
from freelight.shards import list_images
start = time.monotonic()
source = list_images(Path(sys.argv[1]))
print(len(source.splits["train"]), len(source.classes), time.monotonic() - start, time.process_time())
print(peak_memory_mb())
"""


@pytest.mark.slow
def test_an_archive_of_imagenets_size_is_listed_in_20_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    """1,281,167 entries in 1,000 inner tars; tarfile takes 40 s. Measured in CPU time."""
    count, classes = 1_281_167, 1000

    def header(name: str, size: int) -> bytes:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.USTAR_FORMAT)

    with (tmp_path / "ILSVRC2012_img_train.tar").open("wb") as file:
        for place in range(classes):
            wnid = f"n{place:08d}"
            members = count // classes + (place < count % classes)
            body = b"".join(
                header(f"{wnid}_{number}.JPEG", 1) + b"x".ljust(512, b"\0") for number in range(members)
            ) + bytes(1024)
            file.write(header(f"{wnid}.tar", len(body)) + body)
        file.write(bytes(10240))
    run = subprocess.run([sys.executable, "-c", LISTING, str(tmp_path)], check=True, capture_output=True, text=True)
    images, found_classes, elapsed, seconds, megabytes = run.stdout.split()
    print(f"{images} images in {float(elapsed):.1f} s ({float(seconds):.1f} s of CPU), {float(megabytes):.0f} MB")
    assert (int(images), int(found_classes)) == (count, classes)
    assert float(seconds) <= 20
    assert float(megabytes) < 1_000
