"""Rescaling is the authors': the whole picture scaled by area or bicubic, then the window at (size - 256) // 2."""

import gzip
import io
import struct

import numpy as np
import numpy.typing as npt
import pytest
from oracles import Pixels, area_scaled, decoded, encoded, noisy
from PIL import Image, ImageChops, JpegImagePlugin

from freelight.demo.drawing import draw_picture
from freelight.shards import FreelightError, Rescaling, rescale_file
from freelight.shards.images import decode_picture, rescale, rescale_picture


def scaled_sides(width: int, height: int, size: int) -> tuple[int, int]:
    short = min(width, height)
    return round(size * width / short), round(size * height / short)


def area_oracle(pixels: Pixels, size: int) -> npt.NDArray[np.float64]:
    """Scale the whole picture, and only then cut the window out."""
    height, width = pixels.shape[:2]
    new_width, new_height = scaled_sides(width, height, size)
    rows = area_scaled(pixels.astype(np.float64), new_height)
    whole = area_scaled(rows.transpose(1, 0, 2), new_width).transpose(1, 0, 2)
    left, top = (new_width - size) // 2, (new_height - size) // 2
    return whole[top : top + size, left : left + size]


def random_sides(count: int) -> list[tuple[int, int]]:
    return [tuple(map(int, np.random.default_rng(k).integers(257, 900, 2))) for k in range(count)]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("width", "height"),
    [(256, 256), (400, 256), (256, 401), (300, 300), (512, 512), (257, 900), (1999, 258), (700, 523), *random_sides(6)],
)
def test_shrinking_is_the_area_mean_of_the_whole_picture_then_cropped(width: int, height: int) -> None:
    pixels = noisy(width, height)
    expected = area_oracle(pixels, 256)
    got = rescale(Image.fromarray(pixels), 256)
    assert got.shape == (256, 256, 3)
    assert got.dtype == np.uint8
    assert np.abs(got - expected).max() < 0.51, "more than rounding lies between them"


def test_the_oracle_tells_half_a_pixel_of_shift() -> None:
    """The tolerance above is small enough to detect a crop before scaling."""
    pixels = noisy(700, 523)
    square = pixels[:, (700 - 523) // 2 : (700 - 523) // 2 + 523]
    assert np.abs(area_oracle(square, 256) - area_oracle(pixels, 256)).max() > 5


@pytest.mark.parametrize(("width", "height", "left", "top"), [(401, 256, 72, 0), (256, 300, 0, 22)])
def test_a_shorter_side_of_256_is_only_cropped_at_the_floor_of_the_half(
    width: int, height: int, left: int, top: int
) -> None:
    pixels = noisy(width, height)
    assert np.array_equal(rescale(Image.fromarray(pixels), 256), pixels[top : top + 256, left : left + 256])


@pytest.mark.parametrize(
    ("width", "height"), [(255, 255), (100, 75), (37, 300), (200, 141), (255, 800), (3, 2), (1, 9), (250, 251)]
)
def test_enlarging_is_pillows_bicubic_of_the_whole_picture_then_cropped(width: int, height: int) -> None:
    picture = Image.fromarray(noisy(width, height))
    sides = scaled_sides(width, height, 256)
    left, top = (sides[0] - 256) // 2, (sides[1] - 256) // 2
    whole = picture.resize(sides, Image.Resampling.BICUBIC)
    expected = np.asarray(whole.crop((left, top, left + 256, top + 256))).astype(np.int16)
    apart = np.abs(rescale(picture, 256) - expected)
    # Pillow rounds between its two passes, so a single pixel may differ by 2.
    assert np.mean(apart > 1) < 1e-4
    assert apart.max() <= 2


def test_a_picture_of_1_by_5000_gives_its_middle_without_being_scaled_whole() -> None:
    """The whole scaled picture would have 256 x 1,280,000 pixels, a gigabyte; the middle needs only a few source
    pixels."""
    pixels = noisy(1, 5000)
    near = Image.fromarray(pixels[2495:2505]).resize((256, 2560), Image.Resampling.BICUBIC)
    top = (5000 * 256 - 256) // 2 - 2495 * 256
    expected = np.asarray(near.crop((0, top, 256, top + 256))).astype(np.int16)
    assert np.abs(rescale(Image.fromarray(pixels), 256) - expected).max() <= 1
    lying = rescale(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 0, 2))), 256)
    assert np.abs(lying.transpose(1, 0, 2) - expected).max() <= 1


def test_a_picture_of_one_pixel_becomes_its_colour() -> None:
    got = rescale(Image.new("RGB", (1, 1), (12, 200, 90)), 256)
    assert np.array_equal(got, np.broadcast_to(np.array([12, 200, 90]), (256, 256, 3)))


@pytest.mark.parametrize("size", [1, 7, 64, 224, 300])
def test_other_sizes_follow_the_same_geometry(size: int) -> None:
    pixels = noisy(451, 333)
    assert np.abs(rescale(Image.fromarray(pixels), size) - area_oracle(pixels, size)).max() < 0.51


# Kinds of files.


@pytest.fixture(scope="module")
def colours() -> Image.Image:
    """Four quarters of saturated colours, and a gradient: a wrong conversion or inversion gives a large error."""
    pixels = np.empty((256, 256, 3), np.uint8)
    pixels[:128, :128], pixels[:128, 128:] = (220, 30, 40), (30, 180, 60)
    pixels[128:, :128], pixels[128:, 128:] = (40, 60, 210), (240, 220, 50)
    pixels[100:156] = np.linspace(0, 255, 256).astype(np.uint8)[None, :, None]
    return Image.fromarray(pixels)


def test_a_cmyk_jpeg_keeps_its_colours(colours: Image.Image) -> None:
    data = encoded(colours.convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    apart = np.abs(decoded(rescale_file(data, Rescaling())) - np.asarray(colours))
    assert apart.mean() < 3
    assert np.median(apart) <= 2


def test_a_grey_jpeg_becomes_three_equal_channels(colours: Image.Image) -> None:
    grey = colours.convert("L")
    got = decoded(rescale_file(encoded(grey, "JPEG", quality=95), Rescaling()))
    assert np.array_equal(got[..., 0], got[..., 1])
    assert np.array_equal(got[..., 0], got[..., 2])
    assert np.abs(got[..., 0] - np.asarray(grey)).mean() < 2


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_to_eight_not_clipped(format: str) -> None:  # noqa: A002
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    got = np.asarray(decode_picture(encoded(Image.fromarray(values * 257), format)))
    assert np.array_equal(got, np.repeat(values[..., None], 3, axis=2))


def test_alpha_is_dropped_whatever_it_is(colours: Image.Image) -> None:
    picture = colours.copy()
    picture.putalpha(Image.fromarray(np.arange(65536, dtype=np.uint32).astype(np.uint8).reshape(256, 256)))
    assert np.array_equal(np.asarray(decode_picture(encoded(picture, "PNG"))), np.asarray(colours))


def test_a_palette_with_transparent_entries_is_its_colours(colours: Image.Image) -> None:
    picture = colours.quantize(32)
    data = encoded(picture, "PNG", transparency=bytes(range(0, 256, 8)))
    assert np.array_equal(np.asarray(decode_picture(data)), np.asarray(picture.convert("RGB")))


STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
"""How a camera stores an upright picture under each EXIF orientation (where row 0 and column 0 are, EXIF 2.3)."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
def test_every_exif_orientation_comes_out_upright(orientation: int, format: str) -> None:  # noqa: A002
    upright = np.asarray(draw_picture(2, np.random.default_rng(0), (60, 40)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(np.ascontiguousarray(STORED[orientation](upright)), format, exif=exif.tobytes())
    got = np.asarray(decode_picture(data)).astype(np.int16)
    assert got.shape == upright.shape
    assert np.abs(got - upright).mean() < (8 if format == "JPEG" else 1e-9)


def exif_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Lay out EXIF entries of (tag, type, count, value of at most 4 bytes), sound or not."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


ROTATED = (0x0112, 3, 1, b"\6")


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0nonsense that is no TIFF header",
        exif_block(ROTATED)[:-12],
        exif_block((0x0112, 3, 1, b"\x63")),
        exif_block((0x0112, 2, 4, b"six")),
        exif_block((0x0112, 3, 0xFFFFFFFF, b"\6")),
    ],
)
def test_a_corrupt_exif_block_over_sound_pixels_is_ignored(block: bytes) -> None:
    """ImageNet has them. A warning would fail too, because pytest turns warnings into errors."""
    pixels = noisy(40, 30)
    with_block = np.asarray(decode_picture(encoded(pixels, "JPEG", exif=block)))
    assert np.array_equal(with_block, np.asarray(decode_picture(encoded(pixels, "JPEG"))))


def test_an_orientation_counts_though_another_tag_of_its_block_is_corrupt() -> None:
    """Pillow's `exif_transpose` raises struct.error on this block; that once stopped the whole job."""
    block = exif_block((0x0100, 2, 4, b"abc"), ROTATED)  # an image width in letters
    assert decode_picture(encoded(noisy(40, 30), "JPEG", exif=block)).size == (30, 40)


# Files that are not pictures.


JPEG = encoded(noisy(64, 48), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"not a picture\n", "not a picture in a known format"),
        (JPEG[:2], "not a picture in a known format"),
        (JPEG[: len(JPEG) // 2], "image file is truncated"),
        (encoded(noisy(64, 48), "PNG")[:-3000], "truncated|unrecognized data stream"),
        (b"P6 30000 30000 255\n", "decompression bomb"),
        (b"P6 0 5 255\n", "cannot decode"),
    ],
    ids=["empty", "text", "two-bytes", "truncated-jpeg", "truncated-png", "bomb", "no-width"],
)
def test_what_is_no_whole_picture_is_rejected_with_one_reason(data: bytes, reason: str) -> None:
    """The reason is the same each time; a memory address in it once made `rejected.jsonl` differ."""
    reasons = []
    for _ in range(2):
        with pytest.raises(FreelightError, match=reason) as caught:
            rescale_file(bytes(data), Rescaling())
        reasons.append(str(caught.value))
    assert reasons[0] == reasons[1]
    assert " at 0x" not in reasons[0]


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_truncated_jpeg_is_never_filled_with_grey(cut: float) -> None:
    with pytest.raises(FreelightError, match="cannot decode"):
        decode_picture(JPEG[: int(cut * len(JPEG))])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "GIF"])
def test_a_damaged_file_is_decoded_or_rejected_but_stops_nothing(format: str) -> None:  # noqa: A002
    exif = exif_block(ROTATED, (0x0100, 4, 1, b"\x28"), (0x8769, 4, 1, b"\x10"))
    sound = np.frombuffer(encoded(noisy(40, 30), format, **({} if format == "GIF" else {"exif": exif})), np.uint8)
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(150):
        damaged = sound.copy()
        damaged[rng.integers(4, min(150, len(sound)), 3)] = rng.integers(0, 256, 3)
        try:
            decode_picture(damaged.tobytes())
        except FreelightError:
            rejected += 1
    assert rejected > 0


# The output.


def test_the_output_is_a_baseline_jpeg_of_256_in_rgb_420_without_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    data = encoded(noisy(300, 280), "JPEG", exif=exif.tobytes(), icc_profile=b"profile", comment=b"hello")
    with Image.open(io.BytesIO(rescale_file(data, Rescaling()))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))
        assert JpegImagePlugin.get_sampling(image) == 2, "2 is 4:2:0"
        assert set(image.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("quality", [75, 95])
def test_the_output_has_the_quality_asked_for(quality: int) -> None:
    data = encoded(draw_picture(4, np.random.default_rng(0), (300, 260)), "PNG")
    jpeg = rescale_file(data, Rescaling(size=64, quality=quality))
    plain = encoded(noisy(8, 8), "JPEG", quality=quality)
    with Image.open(io.BytesIO(jpeg)) as got, Image.open(io.BytesIO(plain)) as expected:
        assert got.quantization == expected.quantization
    apart = decoded(jpeg) - rescale(decode_picture(data), 64).astype(np.int16)
    assert np.sqrt(np.mean(apart.astype(np.float64) ** 2)) < 10


@pytest.mark.parametrize(("subsampling", "steps"), [("4:2:0", (2, 2)), ("4:2:2", (2, 1)), ("4:4:4", (1, 1))])
def test_the_output_has_the_chroma_subsampling_asked_for(subsampling: str, steps: tuple[int, int]) -> None:
    """The JPEG's frame header has a byte of horizontal and vertical factors for each plane."""
    data = encoded(noisy(70, 64), "PNG")
    jpeg = rescale_file(data, Rescaling(size=64, subsampling=subsampling))
    with Image.open(io.BytesIO(jpeg)) as image:
        factors = [(across, down) for _, across, down, _ in image.layer]  # type: ignore[attr-defined]
    assert factors == [steps, (1, 1), (1, 1)]
    assert (jpeg == rescale_file(data, Rescaling(size=64))) == (subsampling == "4:2:0"), "the default is 4:2:0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, r"`size` \(=0\) must be at least 1 pixel"),
        ({"size": 65501}, r"`size` \(=65501\) must be .* at most 65500"),
        ({"resampling": "box"}, r"`resampling` \(=box\) must be one of authors, bicubic, bilinear, lanczos"),
        ({"quality": 0}, r"`quality` \(=0\) must lie in 1\.\.100"),
        ({"quality": 101}, r"`quality` \(=101\) must lie in 1\.\.100"),
        ({"subsampling": "4:1:0"}, r"`subsampling` \(=4:1:0\) must be one of 4:2:0, 4:2:2, 4:4:4"),
        ({"orientation": "ignored"}, r"`orientation` \(=ignored\) must be one of EXIF orientation applied"),
    ],
)
def test_settings_out_of_range_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Rescaling(**fields)  # type: ignore[arg-type]


def test_a_gzip_compressed_jpeg_is_the_jpeg() -> None:
    """ImageNet 2010 has one named .JPEG. A truncated one is rejected, and so is one that unpacks without end."""
    data = encoded(noisy(300, 280), "JPEG")
    assert rescale_file(gzip.compress(data), Rescaling()) == rescale_file(data, Rescaling())
    with pytest.raises(FreelightError, match="cannot decode: gzip cut short"):
        rescale_file(gzip.compress(data)[:-20], Rescaling())
    with pytest.raises(FreelightError, match="damaged gzip"):
        rescale_file(b"\x1f\x8bnonsense", Rescaling())
    with pytest.raises(FreelightError, match="more than 128 MiB"):
        rescale_file(gzip.compress(bytes(129 << 20), 1), Rescaling())


def without_adobe_marker(data: bytes) -> bytes:
    place = data.index(b"\xff\xee")
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4]) :]


def test_cmyk_without_adobes_marker_is_not_inverted(colours: Image.Image) -> None:
    """Adobe's files, ImageNet's among them, store CMYK inverted and say so by a marker; others do not."""
    cmyk = colours.convert("CMYK")
    plain = without_adobe_marker(encoded(ImageChops.invert(cmyk), "JPEG", quality=95))
    adobe = encoded(cmyk, "JPEG", quality=95)
    assert "adobe" in Image.open(io.BytesIO(adobe)).info
    for data in (plain, adobe):
        apart = np.abs(decoded(rescale_file(data, Rescaling())) - np.asarray(colours))
        assert np.median(apart) <= 2
        assert rescale_picture(data, Rescaling()).kind == "cmyk"


def test_the_kind_of_a_picture_is_what_its_file_held(colours: Image.Image) -> None:
    for data, kind in (
        (encoded(colours, "JPEG"), "colour"),
        (encoded(colours.convert("L"), "JPEG"), "greyscale"),
        (encoded(colours.convert("LA"), "PNG"), "greyscale"),
        (encoded(colours.convert("RGBA"), "PNG"), "colour"),
    ):
        assert rescale_picture(data, Rescaling()).kind == kind


def test_a_gif_is_its_first_frame(colours: Image.Image) -> None:
    frames = colours.quantize(64)
    data = encoded(frames, "GIF", save_all=True, append_images=[Image.new("RGB", frames.size)])
    assert np.array_equal(np.asarray(decode_picture(data)), np.asarray(frames.convert("RGB")))


def test_extraneous_bytes_before_a_marker_are_passed_over() -> None:
    data = encoded(noisy(64, 48), "JPEG")
    place = data.index(b"\xff\xdb")
    padded = data[:place] + b"\xff" * 7 + data[place:] + b"garbage after the end"
    assert rescale_file(padded, Rescaling(size=32)) == rescale_file(data, Rescaling(size=32))


@pytest.mark.parametrize("name", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize(("width", "height"), [(451, 333), (60, 91)])
def test_another_resampling_is_pillows_of_the_whole_picture_then_cropped(name: str, width: int, height: int) -> None:
    picture = Image.fromarray(noisy(width, height))
    sides = scaled_sides(width, height, 96)
    left, top = (sides[0] - 96) // 2, (sides[1] - 96) // 2
    whole = picture.resize(sides, Image.Resampling[name.upper()]).crop((left, top, left + 96, top + 96))
    apart = np.abs(rescale(picture, 96, name) - np.asarray(whole).astype(np.int16))
    assert np.mean(apart > 1) < 1e-3


@pytest.mark.parametrize("name", ["authors", "bicubic", "lanczos"])
def test_a_picture_of_the_size_asked_for_keeps_its_pixels(name: str) -> None:
    """For example CIFAR's 32x32: no resampling filter may change them."""
    pixels = noisy(32, 32)
    assert np.array_equal(rescale(Image.fromarray(pixels), 32, name), pixels)


def test_the_fast_decoder_gives_pillows_pixels(colours: Image.Image) -> None:
    for picture, options in (
        (colours, {"subsampling": "4:2:0"}),
        (colours, {"subsampling": "4:4:4", "progressive": True}),
        (colours.convert("L"), {}),
    ):
        data = encoded(picture, "JPEG", **options)
        assert np.array_equal(np.asarray(decode_picture(data)), decoded(data))
