"""A damaged dataset is repaired to the same bytes: from what is left, from another copy, or from its source."""

import gzip
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from making import SMALL, Stop, files, identities, source_of
from miniatures import draw_mini, tar_of

from freelight.shards import Dataset, FreelightError, Source, list_images, make_shards, repair_dataset, verify_dataset
from freelight.shards.writing.descriptions import earlier_info

SETTINGS = replace(SMALL, metadata=True)
KINDS = (
    "train-000003.tar",
    "val-000001.idx",
    "train.samples.npy",
    "val.metadata.npy",
    "train.sources.txt",
    "rejected.jsonl",
    "README.md",
    "_info.json",
    "dataset.json",
)
OF_THE_SOURCE = ("train-000003.tar", "train.sources.txt", "rejected.jsonl")
"""The files that what is left of a dataset does not say."""


@pytest.fixture(scope="session")
def sound(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures at 32 pixels, eight per shard, with metadata."""
    out = tmp_path_factory.mktemp("sound") / "dataset"
    make_shards(source, out, SETTINGS)
    return out


@pytest.fixture
def damaged(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "damaged"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {"deleted": Path.unlink, "flipped": flip}
QUICK = (("train-000003.tar", "flipped"), ("val-000001.idx", "deleted"), ("dataset.json", "flipped"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param(name, damage, marks=() if (name, damage) in QUICK else pytest.mark.slow)
        for name in KINDS
        for damage in DAMAGES
    ],
)
def test_each_file_is_repaired_to_the_same_bytes(
    name: str, damage: str, source: Source, sound: Path, damaged: Path
) -> None:
    """From the source, from a copy, and without both if the dataset still says it; nothing else is written."""
    kept = {other: mark for other, mark in identities(damaged).items() if other != name}
    for given in ({}, {"copy": sound}, {"source": source, "settings": SETTINGS}):
        DAMAGES[damage](damaged / name)
        if not given and name in OF_THE_SOURCE:
            with pytest.raises(FreelightError, match=rf"{name} is not repaired: give `copy`, .* or `images`"):
                repair_dataset(damaged)
            shutil.copy(sound / name, damaged / name)
            continue
        manifest, (line,) = repair_dataset(damaged, **given)
        assert line.startswith(name)
        assert manifest == Dataset(sound).manifest
        assert files(damaged) == files(sound)
    assert {other: mark for other, mark in identities(damaged).items() if other != name} == kept


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_much_damage_at_a_url_is_repaired_after_a_stop(
    workers: int, source: Source, sound: Path, damaged: Path
) -> None:
    for number in (0, 2, 5):
        (damaged / f"train-{number:06d}.tar").unlink()
    for name in ("train-000005.idx", "dataset.json", "train.samples.npy"):
        (damaged / name).unlink()
    flip(damaged / "rejected.jsonl")

    def stop(items: Iterable[tuple[str, ...]], total: int) -> Iterator[tuple[str, ...]]:
        for number, item in enumerate(items):
            if total == 3 and number == 1:
                raise Stop
            yield item

    with pytest.raises(Stop):
        repair_dataset(damaged, copy=f"file://{sound}", watch=stop)
    _, lines = repair_dataset(f"file://{damaged}", source=source, settings=SETTINGS, workers=workers)
    assert len(lines) == 5, lines
    assert files(damaged) == files(sound)
    assert repair_dataset(f"file://{damaged}") == (Dataset(sound).manifest, [])
    assert files(damaged) == files(sound)


OPENED: list[str] | None = None


def note_open(event: str, arguments: tuple[object, ...]) -> None:
    if OPENED is not None and event == "open":
        OPENED.append(os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else "")


def test_the_repair_of_a_shard_opens_its_own_sources_alone(source: Source, sound: Path, damaged: Path) -> None:
    global OPENED
    sys.addaudithook(note_open)
    split = Dataset(sound).split("train")
    own = {path for path, shard in zip(split.sources, split.samples["shard"], strict=True) if shard == 3}
    own |= {json.loads(line)["path"] for line in (sound / "rejected.jsonl").read_text().splitlines()}
    flip(damaged / "train-000003.tar")
    OPENED = []
    try:
        repair_dataset(damaged, source=source, settings=SETTINGS)
    finally:
        opened, OPENED = OPENED, None
    read = {str(Path(path).relative_to(source.root)) for path in opened if path.startswith(f"{source.root}/")}
    assert 0 < len(read) <= 8
    assert read <= own


def test_another_encoder_is_named_and_changes_nothing(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rescaling = replace(SMALL.rescaling, quality=90)
    made = make_shards(source, out, replace(SMALL, rescaling=rescaling))
    # As if another encoder had made it: the same settings, other bytes.
    replace(made, made_with={**made.made_with, "quality": 95, "pillow": "9.0.0"}).save(out)
    (out / "train-000002.tar").unlink()
    before = identities(out)
    with pytest.raises(FreelightError, match=r"train-000002.tar is not repaired.*made with pillow 9.0.0 and not .*: i"):
        repair_dataset(out, source=source, settings=SMALL)
    assert {name: mark for name, mark in identities(out).items() if ".partial" not in name} == before


def test_a_picture_that_changed_is_said(
    pictures: Path, source: Source, sound: Path, damaged: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(pictures, tmp_path / "other" / pictures.name))
    path = copy / Dataset(sound).split("val").sources[0]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    (damaged / "val-000000.tar").unlink()
    with pytest.raises(FreelightError, match=r"val-000000.tar is not repaired.*a picture of the source was changed"):
        repair_dataset(damaged, source=source_of(copy), settings=SETTINGS)


def test_what_is_not_known_is_not_guessed(sound: Path, damaged: Path, small: Path, tmp_path: Path) -> None:
    (damaged / "dataset.json").unlink()
    info = json.loads((damaged / "_info.json").read_text())
    earlier = {name: info[name] for name in ("splits", "classes", "made_with")}
    (damaged / "_info.json").write_text(json.dumps(earlier, indent=1))
    with pytest.raises(FreelightError, match=r"manifest is lost .*no dataset.json.*lacks the labels' order.*give `co"):
        repair_dataset(damaged)
    with pytest.raises(FreelightError, match=r"no copy of .*damaged: they have no shard in common"):
        repair_dataset(damaged, copy=small)
    repair_dataset(damaged, copy=sound)
    assert files(damaged) == files(sound)
    with pytest.raises(FreelightError, match=r"`out` .*nothing is no dataset"):
        repair_dataset(tmp_path / "nothing")


@pytest.mark.slow
def test_a_dataset_of_an_ordered_source_is_repaired_from_it(tmp_path: Path) -> None:
    archive = tmp_path / "images.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(draw_mini().class_tars())))
    make_shards(list_images(archive), tmp_path / "out", SMALL)
    before = files(tmp_path / "out")
    flip(tmp_path / "out" / "train-000001.tar")
    (tmp_path / "out" / "train.sources.txt").unlink()
    repair_dataset(tmp_path / "out", source=list_images(archive), settings=SMALL)
    assert files(tmp_path / "out") == before


def test_datasets_of_earlier_versions_are_repaired(source: Source, sound: Path, damaged: Path, tmp_path: Path) -> None:
    """Schema 1, which had no descriptions, and the first `_info.json`, which had classes and settings alone."""
    old = Path(__file__).parent.parent / "data" / "release-0.1" / "dataset"
    copy = Path(shutil.copytree(old, tmp_path / "0.1"))
    for name in ("train-000001.idx", "val.samples.npy"):
        flip(copy / name)
    assert len(repair_dataset(copy)[1]) == 2
    assert files(copy) == files(old)
    manifest = Dataset(damaged).manifest
    info = earlier_info(manifest)
    hashes = {**manifest.files, "_info.json": hashlib.sha256(info).hexdigest()}
    replace(manifest, files=hashes).save(damaged)
    (damaged / "_info.json").unlink()
    assert repair_dataset(damaged)[1] == ["_info.json is written again from the manifest"]
    assert (damaged / "_info.json").read_bytes() == info


def test_other_settings_another_source_and_other_peoples_tars_are_refused(
    source: Source, damaged: Path, indexed: Dataset
) -> None:
    flip(damaged / "train-000000.tar")
    with pytest.raises(FreelightError, match=r"made with other settings .*\(seed: 0 then, 1 now\); give the same"):
        repair_dataset(damaged, source=source, settings=replace(SETTINGS, seed=1))
    with pytest.raises(FreelightError, match="has tars of other people; put the original ones back"):
        repair_dataset(indexed.folder)
    assert not (indexed.folder / ".partial").exists()
    assert not verify_dataset(indexed.folder)


def test_a_lost_manifest_is_said_by_make_shards(source: Source, damaged: Path) -> None:
    (damaged / "dataset.json").unlink()
    with pytest.raises(FreelightError, match=r"has lost its dataset.json; write it again with `repair`"):
        make_shards(source, damaged, SETTINGS)
