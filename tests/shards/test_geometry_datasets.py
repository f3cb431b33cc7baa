"""Datasets of every geometry: what they hold, and that stops, workers and ordered sources change no byte."""

import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import Stop, files
from miniatures import tar_of
from oracles import ENCODED, KEPT, decoded, encoded, noisy

from freelight.shards import (
    Dataset,
    FreelightError,
    Rescaling,
    ShardRecord,
    ShardSettings,
    Source,
    list_images,
    make_shards,
    summarize_dataset,
    summarize_source,
    verify_dataset,
)
from freelight.shards.images import GEOMETRIES, picture_size, rescale_picture
from freelight.shards.writing import deal_shards

ORIGINAL = Rescaling(geometry="original")


def settings_of(geometry: str) -> ShardSettings:
    rescaling = ORIGINAL if geometry == "original" else Rescaling(geometry=geometry, size=32)
    return ShardSettings(rescaling=rescaling, samples_per_shard=4)


@pytest.fixture(scope="module")
def members() -> dict[str, dict[str, bytes]]:
    """Class -> file name -> a picture: all forms of files, one too small for 32 pixels, and a text."""
    forms = [*KEPT.values(), *ENCODED.values(), encoded(noisy(20, 40), "JPEG"), b"not a picture"]
    names = ("n00000001", "n00000002")
    return {
        name: {f"{number}.jpg": forms[number] for number in range(k, len(forms), 2)} for k, name in enumerate(names)
    }


@pytest.fixture(scope="module")
def mixed(members: dict[str, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("mixed") / "images"
    for class_id, pictures in members.items():
        (folder / class_id).mkdir(parents=True)
        for name, data in pictures.items():
            (folder / class_id / name).write_bytes(data)
    return list_images(folder)


@pytest.fixture(scope="module")
def made(mixed: Source, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the dataset of a geometry, made once."""
    root = tmp_path_factory.mktemp("geometries")

    def make(geometry: str) -> Path:
        if not (root / geometry).exists():
            make_shards(mixed, root / geometry, settings_of(geometry))
        return root / geometry

    return make


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_dataset_holds_the_pictures_with_their_sizes(
    geometry: str, mixed: Source, made: Callable[[str], Path]
) -> None:
    dataset, settings = Dataset(made(geometry)), settings_of(geometry)
    split = dataset.split("train")
    assert (len(split), split.info.rejected) == (len(KEPT) + len(ENCODED) + 1, 1)
    for index, (source, row) in enumerate(zip(split.sources, split.samples, strict=True)):
        data = (mixed.root / source).read_bytes()
        jpeg = split.read(index)
        assert jpeg == rescale_picture(data, settings.rescaling).jpeg
        height, width, _ = decoded(jpeg).shape
        assert (row["height"], row["width"]) == (height, width)
        wanted = [axis.kept for axis in settings.rescaling.axes(*picture_size(data))]
        assert [height, width] == wanted
    columns = {side: split.samples[side] for side in ("height", "width")}
    assert split.info.sizes == {
        side: {"min": sides.min(), "median": np.median(sides), "max": sides.max()} for side, sides in columns.items()
    }
    assert dataset.image_size == (32 if geometry == "square" else None)
    assert dataset.manifest.made_with["geometry"] == geometry
    assert dataset.manifest.made_with.get("size") == (None if geometry == "original" else 32)
    assert make_shards(mixed, dataset.folder, settings) == dataset.manifest, "finished: accepted as it is"


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("level", ["hash", "crc", "decode"])
def test_it_verifies_at_each_level_until_a_byte_is_flipped(
    geometry: str, level: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    assert verify_dataset(made(geometry), level=level) == []
    for name, data in files(made(geometry)).items():
        (tmp_path / name).write_bytes(data)
    row = Dataset(tmp_path).split("train").samples[1]
    with (tmp_path / "train-000000.tar").open("r+b") as file:
        file.seek(int(row["offset"] + row["length"] // 2))
        byte = file.read(1)[0]
        file.seek(-1, io.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    (problem,) = verify_dataset(tmp_path, level=level)
    assert "is changed (crc32 differs)" in problem


@pytest.mark.parametrize("geometry", ["shorter", "longer", "original"])
def test_stops_and_an_archive_written_to_a_url_give_the_same_bytes(
    geometry: str, mixed: Source, members: dict[str, dict[str, bytes]], made: Callable[[str], Path], tmp_path: Path
) -> None:
    def stop(records: Iterable[ShardRecord], total: int | None) -> Iterator[ShardRecord]:
        yield next(iter(records))
        raise Stop

    settings = settings_of(geometry)
    for _ in range(2):
        with pytest.raises(Stop):
            make_shards(mixed, tmp_path / "stopped", settings, watch=stop)
    other = settings_of("square" if geometry == "shorter" else "shorter")
    with pytest.raises(FreelightError, match=rf"other settings .*geometry: '{geometry}' then, '.*' now"):
        make_shards(mixed, tmp_path / "stopped", other)
    make_shards(mixed, tmp_path / "stopped", settings)
    assert files(tmp_path / "stopped") == files(made(geometry))
    archive = tmp_path / "fall11_whole.tar.gz"
    archive.write_bytes(
        gzip.compress(tar_of((f"{name}.tar", tar_of(inner.items())) for name, inner in members.items()))
    )
    out = f"file://{tmp_path}/ordered"
    make_shards(list_images(archive), out, settings, staging=tmp_path / "staging")
    assert pictures_of(tmp_path / "ordered") == pictures_of(made(geometry))


def pictures_of(folder: Path) -> list[bytes]:
    split = Dataset(folder).split("train")
    return sorted(split.read(index) for index in range(len(split)))


@pytest.mark.parametrize("geometry", ["shorter", "longer", "original"])
def test_two_workers_give_the_same_bytes(
    geometry: str, mixed: Source, made: Callable[[str], Path], tmp_path: Path
) -> None:
    make_shards(mixed, tmp_path / "two", settings_of(geometry), workers=2)
    assert files(tmp_path / "two") == files(made(geometry))


def test_the_dry_run_and_the_summary_say_geometry_and_sizes(
    mixed: Source, made: Callable[[str], Path], tmp_path: Path
) -> None:
    def line(lines: Iterable[str]) -> str:
        return next(line for line in lines if line.startswith("geometry"))

    for geometry, start in (
        ("square", "geometry square, size 32; train: height 32, width 32"),
        (
            "shorter",
            "geometry shorter, size 32, smaller images not enlarged; train: height 32 to 49 (median 32)",
        ),
        ("original", "geometry original; train: height 40 to 93 (median 61), width 20 to 93 (median 93)"),
    ):
        assert line(summarize_dataset(Dataset(made(geometry)).manifest, "out")).startswith(start)
        planned = line(summarize_source(mixed, settings_of(geometry)))
        assert planned.startswith(start if geometry != "square" else "geometry square, size 32")
        assert planned.endswith("; from the headers of at most 100 images a split, chosen at random") == (
            geometry != "square"
        )


@pytest.mark.parametrize("split", ["x" * 87, "tr\u00e4in", ".train", ""])
def test_a_split_whose_keys_do_not_fit_a_tar_is_one_error(split: str, mixed: Source) -> None:
    source = replace(mixed, splits={split: mixed.splits["train"]})
    with pytest.raises(FreelightError, match=r"the split '.*' must have a name of at most 86 letters, .*; rename it"):
        deal_shards(source, settings_of("square"))
    deal_shards(replace(mixed, splits={"x" * 86: mixed.splits["train"]}), settings_of("square"))
