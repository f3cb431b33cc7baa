"""A picture file may be hostile: which formats are opened, and the limits that hold before its pixels are decoded."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from making import SMALL
from PIL import Image, features

from freelight.shards import FreelightError, Rescaling, list_images, make_shards, rescale_file
from freelight.shards.images import decode_picture, decoding, opening, rescaling
from freelight.train.evaluation.picture_files import read_picture


def encoded(image: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002 - Pillow's word
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int) -> bytes:
    """An RGB PNG that declares its size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def tiff(*tags: tuple[int, int, int, int], after: bytes = b"") -> bytes:
    """A grey TIFF of 20 x 30 with further tags: number, type, count, value."""
    plain = {256: (4, 1, 20), 257: (4, 1, 30), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)}
    plain |= {278: (4, 1, 30), 279: (4, 1, 600)} | {number: tuple(rest) for number, *rest in tags}
    entries = b"".join(struct.pack("<HHII", number, *plain[number]) for number in sorted(plain))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(plain)) + entries + bytes(4) + after.ljust(1000, b"\0")


COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
JPEG = encoded(COLOURS, "JPEG")
GIF = encoded(COLOURS, "GIF")
PROGRESSIVE = encoded(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)


def test_a_postscript_file_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"
    with pytest.raises(FreelightError, match=r"EPS is not opened, only JPEG, PNG, .*; convert it"):
        rescale_file(eps, Rescaling())
    assert not (tmp_path / "started").exists()


def test_every_picture_is_opened_by_a_list_of_formats() -> None:
    """A dataset or an image folder from a stranger may hold anything under a picture's name."""
    root = Path(__file__).parents[2]
    code = [path for folder in ("shards", "pipeline", "train", "tools") for path in (root / folder).rglob("*.py")]
    lines = [line.strip() for path in code for line in path.read_text().splitlines() if "Image.open(" in line]
    assert [line for line in lines if "formats=" not in line] == []
    assert len(lines) > 5


@pytest.mark.parametrize("format", ["PCX", "TGA", "ICO", "PDF", "SGI"])
def test_a_format_that_is_not_listed_is_not_opened(format: str) -> None:  # noqa: A002
    with pytest.raises(FreelightError, match=r"cannot decode: (ICO is not opened|PDF is not|not a picture in a known)"):
        decode_picture(encoded(COLOURS, format))


@pytest.mark.parametrize("format", opening.FORMATS)
def test_every_listed_format_is_opened(format: str) -> None:  # noqa: A002
    if not features.check({"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}.get(format, "zlib")):
        pytest.skip(f"this Pillow does not read {format}")
    assert decode_picture(encoded(COLOURS, format)).size == COLOURS.size


def test_a_pillow_without_one_of_the_formats_opens_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow 10 has no AVIF; `Image.open` raises KeyError for a format that it does not know."""
    monkeypatch.setattr(opening, "FORMATS", ("AVIF-2", *opening.FORMATS))
    opening.picture_formats.cache_clear()
    assert decode_picture(encoded(COLOURS, "BMP")).size == COLOURS.size
    opening.picture_formats.cache_clear()


def test_a_picture_has_at_most_max_pixels() -> None:
    data = encoded(COLOURS, "PNG")
    rescale_file(data, Rescaling(max_pixels=1200))
    with pytest.raises(FreelightError, match=r"40 x 30 pixels are more than 1199 \(max_pixels for PNG\)"):
        rescale_file(data, Rescaling(max_pixels=1199))
    with pytest.raises(FreelightError, match="13300 x 13300 pixels are more than 64000000"):
        rescale_file(png(13300, 13300), Rescaling())
    with pytest.raises(FreelightError, match="decompression bomb"):
        rescale_file(png(65000, 65000), Rescaling())
    with pytest.raises(FreelightError, match="40 x 30 pixels are more than 600 "):
        rescale_file(encoded(COLOURS, "WEBP"), Rescaling(max_pixels=1200))


@pytest.mark.parametrize("value", [0, -1, 178_956_971])
def test_a_limit_that_is_none_is_an_error(value: int) -> None:
    with pytest.raises(FreelightError, match=rf"`max_pixels` \(={value}\) must be at least 1 and at most 178956970"):
        Rescaling(max_pixels=value)


def test_a_large_picture_taken_in_parts_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts keep the memory low; here they are so small that a small picture has many."""
    colours = COLOURS.resize((320, 270))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encoded(colours.convert(mode), "TIFF") for mode in ("RGB", "RGBA", "CMYK", "P", "L", "1")]
    files += [encoded(colours, "PNG", exif=exif.tobytes()), encoded(colours.convert("CMYK"), "JPEG")]
    files += [encoded(Image.fromarray(np.arange(90000, dtype=np.uint16).reshape(300, 300)), "PNG")]
    whole = [rescale_file(data, Rescaling(size=64)) for data in files]
    monkeypatch.setattr(decoding, "_STRIP", 1000)
    monkeypatch.setattr(rescaling, "_BLOCK_BYTES", 10_000)
    assert [rescale_file(data, Rescaling(size=64)) for data in files] == whole


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.linspace(0, 1, 600, dtype=np.float32), "32-bit floating-point numbers, .*; convert it to 8 bits"),
        (np.arange(600, dtype=np.int32) % 256, "32-bit integers, .*; convert it to 8 bits"),
    ],
)
def test_a_tiff_of_32_bits_is_rejected_not_black(pixels: npt.NDArray[np.generic], reason: str) -> None:
    with pytest.raises(FreelightError, match=reason):
        decode_picture(encoded(Image.fromarray(pixels.reshape(20, 30)), "TIFF"))


MANY = 5000


HOSTILE = {
    "segments": (JPEG[:2] + b"\xff\xe5\0\2" * MANY + JPEG[2:], "too many parts"),
    "junk": (JPEG[:20] + bytes(2 * MANY) + JPEG[20:], "too many parts"),
    "gif": (GIF[:781] + b"\x21\xfe" + b"\1a" * MANY + b"\0" + GIF[781:], "too many parts"),
    "chunks": (png(4, 4)[:33] + chunk(b"abCd", b"") * MANY + png(4, 4)[33:], "too many parts"),
    "ppm": (b"P6\n#" + b"a" * 2 * MANY + b"\n4 4 255\n" + bytes(48), "too many parts"),
    "scans": (PROGRESSIVE[:-2] + PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2] * 1000, "scans are too many"),
    "strips": (tiff((273, 4, 1 << 18, 8), after=bytes(1 << 21)), "tags hold more"),
    "rationals": (tiff((282, 5, 1 << 18, 8), after=bytes(1 << 22)), "tags hold more"),
    "overlap": (tiff(*((30_000 + number, 2, 1000, 8) for number in range(50))), "tags hold more"),
    "tags": (tiff(*((30_000 + number, 2, 1, 8) for number in range(5000))), "tags hold more"),
    "bigtiff": (b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 62) + bytes(200_000), "tags hold more"),
    "text": (b"P3\n4 4 255\n" + b"#\n" * MANY, "a PPM of text is not opened"),
    "tile": (tiff((322, 4, 1, 20_000), (323, 4, 1, 20_000), (324, 4, 1, 8)), "20000 x 20000 pixels in a tile"),
}
"""Small files that grow into hours or gigabytes, or would if they were larger: the data, and the reason."""


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_would_take_long_or_much_memory_is_rejected_at_once(data: bytes, reason: str) -> None:
    with pytest.raises(FreelightError, match=f"cannot decode: .*{reason}"):
        decode_picture(data)


def test_a_video_after_a_large_jpeg_does_not_count_as_scans() -> None:
    """Phones append one; by chance its bytes look like the markers of scans."""
    assert decode_picture(PROGRESSIVE + b"\xff\xda" * 6000).size == (2000, 2000)


def test_pictures_that_pillow_decodes_in_python_may_have_a_sixteenth_of_the_pixels() -> None:
    """It takes 2 microseconds a pixel."""
    pixels = bytes(range(250)) * 6
    assert decode_picture(b"P6 20 25 254\n" + pixels, max_pixels=8000).size == (20, 25)
    with pytest.raises(FreelightError, match="20 x 25 pixels are more than 499 "):
        decode_picture(b"P6 20 25 254\n" + pixels, max_pixels=7999)
    assert decode_picture(b"P6 20 25 255\n" + pixels, max_pixels=500).size == (20, 25)


def test_a_tiff_with_a_corrupt_tag_is_opened() -> None:
    """Pillow passes over a tag that ends after the file, or whose type is unknown."""
    sound = tiff()
    for tag in ((282, 5, 0xFFFFFFFF, 8), (270, 2, 1 << 30, 8), (270, 99, 1 << 30, 8)):
        assert decode_picture(tiff(tag)).size == decode_picture(sound).size == (20, 30)


def test_an_exif_block_of_a_megabyte_is_not_read() -> None:
    block = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, 6) + bytes(1 << 20)
    assert decode_picture(encoded(COLOURS, "PNG", exif=block)).size == COLOURS.size
    assert decode_picture(encoded(COLOURS, "PNG", exif=block[:1000])).size == COLOURS.size[::-1]


def test_a_sparse_file_of_20_gb_is_rejected_unread(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True)
    COLOURS.save(folder / "sound.png")
    with open(folder / "sparse.jpg", "wb") as file:
        file.truncate(20 << 30)
    manifest = make_shards(list_images(tmp_path / "images"), tmp_path / "out", SMALL)
    assert (manifest.splits["train"].samples, manifest.splits["train"].rejected) == (1, 1)
    assert "has 21474836480 bytes, more than 128 MiB" in (tmp_path / "out" / "rejected.jsonl").read_text()
    with pytest.raises(FreelightError, match=r"sparse\.jpg: cannot decode: the file has 21474836480 bytes"):
        read_picture(folder / "sparse.jpg", Rescaling())
