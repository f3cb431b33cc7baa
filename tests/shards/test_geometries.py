"""Every geometry: sizes and pixels of one picture, and the files whose bytes are kept."""

import gzip
import io
from dataclasses import replace

import numpy as np
import pytest
from nvidia.dali import fn, pipeline_def
from oracles import ENCODED, KEPT, area_scaled, decoded, encoded, noisy
from PIL import Image

from freelight.shards import (
    FreelightError,
    Rescaling,
)
from freelight.shards.images import finds_damage, picture_size, rescale_picture
from freelight.shards.images.rescaling import rescale_pixels

ORIGINAL = Rescaling(geometry="original")


# Sizes and pixels.


@pytest.mark.parametrize(
    ("geometry", "size", "enlarge", "before", "after"),
    [
        ("shorter", 256, False, (375, 500), (256, 341)),
        ("shorter", 256, False, (500, 375), (341, 256)),
        ("shorter", 256, False, (300, 255), (300, 255)),
        ("shorter", 256, True, (300, 255), (301, 256)),
        ("shorter", 2, False, (4, 5), (2, 2)),  # 2.5 to the even neighbour
        ("shorter", 2, False, (4, 7), (2, 4)),  # 3.5
        ("longer", 256, False, (375, 500), (192, 256)),
        ("longer", 256, False, (100, 256), (100, 256)),
        ("longer", 256, True, (50, 100), (128, 256)),
        ("longer", 256, False, (1, 5000), (1, 256)),
        ("original", 256, False, (37, 5000), (37, 5000)),
        ("square", 256, False, (37, 50), (256, 256)),
    ],
)
def test_the_other_side_is_rounded_and_never_0(
    geometry: str, size: int, enlarge: bool, before: tuple[int, int], after: tuple[int, int]
) -> None:
    rescaling = Rescaling(geometry=geometry, size=size, enlarge=enlarge)
    assert rescale_pixels(np.zeros((*before, 3), np.uint8), rescaling).shape == (*after, 3)


@pytest.mark.parametrize(("geometry", "size"), [("shorter", 200), ("longer", 200), ("shorter", 522), ("longer", 1)])
def test_shrinking_is_the_area_mean_of_the_whole_picture(geometry: str, size: int) -> None:
    pixels = noisy(700, 523)
    got = rescale_pixels(pixels, Rescaling(geometry=geometry, size=size))
    rows = area_scaled(pixels.astype(np.float64), got.shape[0])
    expected = area_scaled(rows.transpose(1, 0, 2), got.shape[1]).transpose(1, 0, 2)
    assert np.abs(got - expected).max() < 0.51, "more than rounding lies between them"


@pytest.mark.parametrize("geometry", ["square", "shorter"])
def test_a_picture_that_is_taken_in_bands_has_the_same_pixels(geometry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, rescaling = noisy(700, 523), Rescaling(geometry=geometry, size=200)
    whole = rescale_pixels(pixels, rescaling)
    monkeypatch.setattr("freelight.shards.images.rescaling._BLOCK_BYTES", 300_000)
    assert np.array_equal(rescale_pixels(pixels, rescaling), whole)


@pytest.mark.parametrize("geometry", ["shorter", "longer"])
def test_enlarging_and_other_filters_are_pillows_on_the_whole_picture(geometry: str) -> None:
    picture = Image.fromarray(noisy(90, 61))
    for size, resampling, filter_ in ((150, "authors", "BICUBIC"), (40, "lanczos", "LANCZOS")):
        rescaling = Rescaling(geometry=geometry, size=size, enlarge=True, resampling=resampling)
        got = rescale_pixels(np.asarray(picture), rescaling)
        expected = picture.resize((got.shape[1], got.shape[0]), Image.Resampling[filter_])
        assert np.array_equal(got, np.asarray(expected))


@pytest.mark.parametrize(
    ("rescaling", "height", "width", "message"),
    [
        (
            Rescaling(geometry="shorter", enlarge=True),
            5000,
            1,
            "1 x 5000 pixels would become 256 x 1280000; ",
        ),
        (Rescaling(geometry="shorter", enlarge=True, size=9000), 9, 9, "would become 9000 x 9000; .* 64000000"),
        (ORIGINAL, 70000, 3, "3 x 70000 pixels would become 3 x 70000; a JPEG has at most 65500 on a side"),
    ],
)
def test_what_no_jpeg_can_hold_is_rejected(rescaling: Rescaling, height: int, width: int, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        rescale_picture(encoded(np.zeros((height, width, 3), np.uint8), "PNG"), rescaling)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"geometry": "tall"}, r"`geometry` \(=tall\) must be one of square, shorter, longer, original"),
        ({"enlarge": True}, r"`enlarge` is for the geometries shorter and longer: .* `geometry` \(=square\)"),
        ({"geometry": "original", "size": 224}, r"`geometry` \(=original\) keeps every size; omit `size`"),
        ({"geometry": "original", "resampling": "bicubic"}, "omit `size` and `resampling`"),
    ],
)
def test_settings_without_effect_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Rescaling(**fields)  # type: ignore[arg-type]


# Original files.


@pytest.mark.parametrize("name", KEPT)
def test_original_keeps_the_bytes_of_plain_jpegs(name: str) -> None:
    assert rescale_picture(KEPT[name], ORIGINAL).jpeg == KEPT[name]


@pytest.mark.filterwarnings("ignore:Tag data larger than file")
@pytest.mark.parametrize("name", ENCODED)
def test_original_encodes_everything_else_upright_at_its_own_size(name: str) -> None:
    data, settings = ENCODED[name], replace(ORIGINAL, quality=77)
    got = rescale_picture(data, settings).jpeg
    assert got not in data
    with Image.open(io.BytesIO(got)) as image, Image.open(io.BytesIO(encoded(noisy(8, 8), "JPEG", quality=77))) as same:
        assert (image.format, image.mode, image.quantization) == ("JPEG", "RGB", same.quantization)
        assert (image.height, image.width) == picture_size(data)
    with Image.open(io.BytesIO(gzip.decompress(data) if name == "gzip" else data)) as image:
        upright = image.convert("RGB").transpose(Image.Transpose.ROTATE_270) if name[-4:] == "EXIF" else image
        expected = np.asarray(upright.convert("RGB"))
    assert np.abs(decoded(got) - expected).mean() < 8


@pytest.mark.skipif(not finds_damage(), reason="needs simplejpeg, which notices the damage")
def test_original_encodes_what_is_damaged_and_says_so() -> None:
    data = encoded(noisy(200, 150), "JPEG", quality=95)
    data = data[:9000] + bytes(1000) + data[10_000:]
    jpeg, _, damage = rescale_picture(data, ORIGINAL)[:3]
    assert jpeg != data
    assert damage.startswith("Corrupt JPEG data")
    assert rescale_picture(jpeg, ORIGINAL)[:3] == (jpeg, "colour", ""), "what was written decodes without a warning"


def test_dali_decodes_kept_files_as_pillow_does() -> None:
    @pipeline_def(batch_size=len(KEPT), num_threads=1, device_id=None)
    def pipeline() -> object:
        return fn.decoders.image(fn.external_source(name="jpegs"), device="cpu")

    pipe = pipeline()
    pipe.feed_input("jpegs", [np.frombuffer(data, np.uint8) for data in KEPT.values()])
    (batch,) = pipe.run()
    for place, (name, data) in enumerate(KEPT.items()):
        assert np.array_equal(np.asarray(batch.at(place)), decoded(data)), name
