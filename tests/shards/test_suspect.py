"""JPEGs damaged in the middle decode, with wrong pixels: they are counted and listed, or left out on request."""

import io
import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import SMALL, files
from PIL import Image

from freelight.demo.drawing import draw_picture
from freelight.shards import FreelightError, list_images, make_shards, repair_dataset, summarize_dataset, verify_dataset
from freelight.shards.images import Rescaled, decoding
from freelight.shards.sources.segments import read_blob

pytest.importorskip("simplejpeg", reason="without it Pillow decodes, which does not notice the damage")


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    draw_picture(2, np.random.default_rng(0), (400, 300)).convert(mode).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def zeroed(data: bytes) -> bytes:
    """Put 4 kB of zeros into the middle, as a disk does that loses a block."""
    middle = len(data) // 2
    return data[:middle] + bytes(4096) + data[middle + 4096 :]


DAMAGED = {
    "a/plain.jpg": zeroed(jpeg()),
    "a/progressive.jpg": zeroed(jpeg(progressive=True)),
    "b/cmyk.jpg": zeroed(jpeg("CMYK")),
    "b/grey.jpg": zeroed(jpeg("L")),
}
SOUND = {
    "a/plain-sound.jpg": jpeg(),
    "a/restarts.jpg": jpeg(restart_marker_rows=1),
    "b/cmyk-sound.jpg": jpeg("CMYK"),
    "b/progressive-sound.jpg": jpeg(progressive=True),
    "b/trailer.jpg": jpeg() + b"something after the end",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suspect") / "images"
    for name, data in (DAMAGED | SOUND).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_they_are_used_counted_and_listed(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = make_shards(list_images(images), out, SMALL)
    assert (made.splits["train"].samples, made.splits["train"].rejected) == (9, 0)
    assert made.source["suspect"] == {"train": 4}
    lines = [json.loads(line) for line in (out / "suspect.jsonl").read_text().splitlines()]
    assert {line["path"] for line in lines} == set(DAMAGED)
    assert all(line["split"] == "train" and line["reason"].startswith("Corrupt JPEG data: ") for line in lines)
    assert any("suspect JPEGs" in line and "4 in train" in line for line in summarize_dataset(made, out))
    assert verify_dataset(out) == []
    before = files(out)
    assert make_shards(list_images(images), out, SMALL) == made, "running again must find it finished"
    (out / "suspect.jsonl").write_bytes(b"")
    assert verify_dataset(out) == [f"{out}/suspect.jsonl was changed after it was written"]
    repair_dataset(out, source=list_images(images), settings=SMALL)
    assert files(out) == before


def test_on_request_they_are_left_out_with_the_reason(images: Path, tmp_path: Path) -> None:
    made = make_shards(list_images(images), tmp_path / "out", replace(SMALL, reject_suspect=True))
    assert (made.splits["train"].samples, made.splits["train"].rejected) == (5, 4)
    assert "suspect" not in made.source
    assert not (tmp_path / "out" / "suspect.jsonl").exists()
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert {line["path"] for line in lines} == set(DAMAGED)
    assert all(line["reason"].startswith("suspect: Corrupt JPEG data: ") for line in lines)


@pytest.mark.parametrize("reject", [False, True])
def test_an_archive_that_is_read_in_order_gives_the_same_lists(reject: bool, images: Path, tmp_path: Path) -> None:
    """Its pictures are decoded long before the shards are written."""
    archive = tmp_path / "fall11_whole.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for folder, wnid in (("a", "n00000001"), ("b", "n00000002")):
            with tarfile.open(tmp_path / f"{wnid}.tar", "w") as inner:
                inner.add(images / folder, ".")
            tar.add(tmp_path / f"{wnid}.tar", f"{wnid}.tar")
    settings = replace(SMALL, reject_suspect=reject)
    made = make_shards(list_images(archive), tmp_path / "out", settings)
    lines = (tmp_path / "out" / ("rejected.jsonl" if reject else "suspect.jsonl")).read_text().splitlines()
    found = {json.loads(line)["path"].rpartition("/")[2] for line in lines}
    assert found == {name.rpartition("/")[2] for name in DAMAGED}
    assert made.splits["train"].samples == (5 if reject else 9)


def test_a_segment_of_0_1_is_still_read() -> None:
    assert read_blob(b"colour\n\xff\xd8\n") == Rescaled(b"\xff\xd8\n", "colour", "")
    assert read_blob(b"cmyk\tCorrupt JPEG data\n\xff") == Rescaled(b"\xff", "cmyk", "Corrupt JPEG data")


def test_a_damaged_head_of_a_segments_picture_is_refused() -> None:
    assert read_blob(b"colour\t\t30\t40\n\xff") == Rescaled(b"\xff", "colour", "", 30, 40)
    for damaged in (b"colou\n\xff", b"colour\t\t3x\t40\n\xff", b"colour\t\xff\t30\t40\n\xff", b"\xff"):
        with pytest.raises(FreelightError, match="in the staging area is damaged"):
            read_blob(damaged)


def test_without_simplejpeg_they_are_not_looked_for_and_the_summary_says_so(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)  # an import of it fails
    decoding._simplejpeg.cache_clear()
    try:
        with pytest.raises(FreelightError, match=r"`reject_suspect` needs simplejpeg; install .*freelight\[fast\]"):
            replace(SMALL, reject_suspect=True)
        made = make_shards(list_images(images), tmp_path / "out", SMALL)
    finally:
        decoding._simplejpeg.cache_clear()
    assert "suspect" not in made.source
    assert any("does not notice damage in the middle" in line for line in summarize_dataset(made, tmp_path / "out"))


def test_the_pixels_of_a_damaged_jpeg_are_pillows() -> None:
    """As before: the decoder that noticed the damage does not decide what it looks like."""
    data = DAMAGED["a/plain.jpg"]
    got = decoding.decode_pixels(data, 10**6)
    assert got.damage.startswith("Corrupt JPEG data")
    assert np.array_equal(got.pixels, np.asarray(Image.open(io.BytesIO(data))))
