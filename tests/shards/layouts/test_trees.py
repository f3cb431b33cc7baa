"""Trees as real copies are: only regular files are read, what is no picture is counted, and the rest is named."""

import io
import json
import os
import socket
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from freelight.commands.make_shards import command
from freelight.shards import Dataset, FreelightError, Source, list_images

JPEG = io.BytesIO()
Image.new("RGB", (20, 20), (9, 99, 200)).save(JPEG, "JPEG")


def tree(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG.getvalue() if name.endswith((".jpg", ".JPEG")) else b"no picture")
    return root


def made(images: Path, out: Path, *options: str) -> str:
    """Run `make_shards`, and return what it prints."""
    words = ["--images", str(images), "--out", str(out), "--size", "16", *options]
    result = CliRunner().invoke(command, words, color=True)
    assert result.exit_code == 0, result.output
    return result.output


def rejects(out: Path) -> dict[str, str]:
    lines = (out / "rejected.jsonl").read_text().splitlines()
    return {reject["path"]: reject["reason"] for reject in map(json.loads, lines)}


def test_what_is_no_regular_file_is_rejected_with_its_reason_and_nothing_waits_for_it(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", "a/1.jpg", "b/1.jpg")
    os.mkfifo(images / "a/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(images / "a/socket.jpg"))
    (images / "a/null.jpg").symlink_to("/dev/null")
    (images / "b/gone.jpg").symlink_to("nowhere.jpg")
    (images / "b/self.jpg").symlink_to("self.jpg")
    (images / "b/through.jpg").symlink_to("1.jpg/within")
    (images / "c").symlink_to("no-folder")
    made(images, tmp_path / "out", "--max-rejected", "7")
    assert rejects(tmp_path / "out") == {
        "a/pipe.jpg": "a named pipe",
        "a/socket.jpg": "a socket",
        "a/null.jpg": "a character device",
        "b/gone.jpg": "a link to nowhere.jpg, which does not exist",
        "b/self.jpg": "a link to self.jpg, which leads back to the link",
        "b/through.jpg": "a link to 1.jpg/within, which cannot be reached (Not a directory)",
        "c": "a link to no-folder, which does not exist",
    }
    assert Dataset(tmp_path / "out").manifest.splits["train"].samples == 2


def test_links_to_folders_are_followed_once_however_they_lead(tmp_path: Path) -> None:
    """A loop, a link to a folder above, two ways to one folder, and 2 ** 30 ways through folders of links."""
    images = tree(tmp_path / "images", "train/a/1.jpg", "train/b/deep/2.jpg")
    tree(tmp_path / "elsewhere", "3.jpg")
    (images / "train/a/again").symlink_to(".")
    (images / "train/a/up").symlink_to("../..")
    (images / "train/b/alias").symlink_to("deep")
    (images / "train/b/other").symlink_to(tmp_path / "elsewhere")
    (images / "train/loop").symlink_to("..")
    for level in range(30):
        (tmp_path / f"ways/{level}").mkdir(parents=True)
        for way in "xy":
            (tmp_path / f"ways/{level}/{way}").symlink_to(tmp_path / f"ways/{level + 1}")
    tree(tmp_path, "ways/30/4.jpg")
    (images / "train/c").symlink_to(tmp_path / "ways/0")
    source = list_images(images)
    assert isinstance(source, Source)
    paths = [image.path for image in source.splits["train"]]
    assert paths[:-1] == ["train/a/1.jpg", "train/b/deep/2.jpg", "train/b/other/3.jpg"]
    assert paths[-1].startswith("train/c/")
    left_out = {left.path: left.reason for left in source.left_out}
    assert left_out["train/loop"] == "a link to a folder that holds it"
    for path in ("train/a/again", "train/a/up", "train/b/alias"):
        assert left_out[path] == "a link to a folder that is listed already"
    assert len(left_out) == 4 + 30


SYSTEM_FILES = ("._1.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "labels.txt", "t.CSV", "m.json", "n.xml", "README")


def test_hidden_and_system_files_and_texts_are_counted_and_are_no_rejects(tmp_path: Path) -> None:
    """macOS puts a `._x.jpg` beside every picture of a copy: half of all files."""
    names = [f"train/{folder}/{name}" for folder in "ab" for name in ("1.jpg", *SYSTEM_FILES)]
    images = tree(tmp_path / "images", *names, "train/__MACOSX/a/1.jpg", "train/.git/1.jpg", "train/a/@eaDir/1.jpg")
    tree(images, "train/notes.md")
    out = tmp_path / "out"
    printed = made(images, out, "--max-rejected", "0")
    said = (
        "22 files or folders are ignored, because they hold no pictures: 2 *.csv, 2 *.json, 1 *.md, 2 *.txt, 2 *.xml, "
        "1 @eaDir/, 2 README, 2 Thumbs.db, 1 __MACOSX/, 2 desktop.ini, 5 hidden"
    )
    assert said in printed.splitlines()
    assert rejects(out) == {}
    assert Dataset(out).manifest.source["notes"] == [said]
    assert said in made(images, out, "--max-rejected", "0"), "the finished dataset is recognised, and it is said again"
    assert said in made(images, tmp_path / "none", "--dry-run").splitlines()


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_the_same_files_in_a_tar_are_counted_too(suffix: str, tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for name in ("./n01440764_1.JPEG", "._n01440764_1.JPEG", "PaxHeaders.77/n01440764_1.JPEG", "list.txt"):
            add(tar, name, JPEG.getvalue())
    path = tmp_path / f"fall11_whole.{suffix}"
    with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w") as tar:
        for name, data in (
            ("n01440764.tar", inner.getvalue()),
            ("._n01440764.tar", b"no tar"),
            ("__MACOSX/n01440764.tar", b"no tar"),
        ):
            add(tar, name, data)
    printed = made(path, tmp_path / "out", "--max-rejected", "0")
    assert "they hold no pictures: 1 *.txt, 1 PaxHeaders.77/, 1 __MACOSX/, 2 hidden\n" in printed
    assert Dataset(tmp_path / "out").manifest.splits["train"].samples == 1


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("becomes", ["nothing", "a pipe", "a folder"])
def test_a_picture_that_is_replaced_after_the_listing_stops_the_job_in_one_line(becomes: str, tmp_path: Path) -> None:
    images = tree(tmp_path, "a/1.jpg", "b/1.jpg")
    source = list_images(images)
    assert isinstance(source, Source)
    (images / "a/1.jpg").unlink()
    if becomes == "a pipe":
        os.mkfifo(images / "a/1.jpg")
    elif becomes == "a folder":
        (images / "a/1.jpg").mkdir()
    with pytest.raises(FreelightError, match=r"a/1\.jpg (was removed|changed) since it was listed"):
        source.read(source.splits["train"][0])


def test_names_that_a_terminal_would_act_on_are_escaped_on_the_screen_and_exact_in_files(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", "cat\x1b[31m/1.jpg", "dog/1\x1b]0;title\x07.jpg", "dog/bad\x1b[5m")
    os.mkfifo(images / "dog/pipe\x1b[1m")
    out = tmp_path / "out\x1b[1m"
    assert "\x1b" not in made(images, out, "--max-rejected", "2")
    assert "\x1b" not in made(images, tmp_path / "none", "--dry-run")
    words = ["--images", str(images), "--out", str(tmp_path / "other\x1b"), "--max-rejected", "0"]
    result = CliRunner().invoke(command, words, color=True)
    assert result.exit_code == 2
    assert "\x1b" not in result.output
    manifest = Dataset(out).manifest
    assert [info.id for info in manifest.classes] == ["cat\x1b[31m", "dog"]
    assert rejects(out) == {
        "dog/bad\x1b[5m": "cannot decode: not a picture in a known format",
        "dog/pipe\x1b[1m": "a named pipe",
    }
