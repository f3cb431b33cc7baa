"""`freelight decode`: says what the pixels take, and fills a store that the loader then reads."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from freelight.commands.decode import command
from freelight.pipeline import CenterCrop, Lighting, Loader, Transform
from freelight.shards import Dataset
from freelight.shards.base import ByteCount

PLAIN = Transform(crop=CenterCrop(size=32), mean="none", lighting=Lighting(mode="off"), dtype="uint8")


def decode(dataset: Dataset, *words: object) -> Result:
    return CliRunner().invoke(command, ["--shards", str(dataset.folder), *map(str, words)])


def test_it_says_the_price_and_a_dry_run_writes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    said = decode(dataset, "--decoded", tmp_path / "px", "--decoded-bytes", "12MB", "--dry-run")
    assert said.exit_code == 0, said.output
    train, val, disk = said.stdout.splitlines()
    assert train == "train: 60 images take 11.8 MB decoded; kept: all; 0 are there"
    assert val == "val: 20 images take 3.9 MB decoded; kept: the first 1, 0.2 MB; 0 are there"
    assert disk.startswith(f"{tmp_path / 'px'}: ")
    assert disk.endswith(" GB free")
    assert not (tmp_path / "px").exists()


def test_json_says_what_is_kept_and_what_is_there(dataset: Dataset, tmp_path: Path) -> None:
    for words, there in ((["--dry-run"], 0), ([], 20)):
        found = json.loads(decode(dataset, "--decoded", tmp_path, "--split", "val", "--json", *words).stdout)
        (val,) = found["splits"]
        assert val.items() >= {"split": "val", "images": 20, "kept": 20, "there": there}.items()
    assert decode(dataset, "--decoded", tmp_path, "--split", "val", "--quiet").output == ""


def test_a_filled_store_is_continued_and_then_nothing_is_decoded(dataset: Dataset, tmp_path: Path) -> None:
    first = decode(dataset, "--decoded", tmp_path, "--decoded-bytes", "5 MiB", "--split", "train", "--threads", 1)
    assert first.stdout.splitlines()[-1] == f"train: the pixels of 26 of 60 images are in {tmp_path}"
    again = decode(dataset, "--decoded", tmp_path)
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[0] == "train: 60 images take 11.8 MB decoded; kept: all; 26 are there"
    assert again.stdout.splitlines()[-2:] == [
        f"train: the pixels of 60 of 60 images are in {tmp_path}",
        f"val: the pixels of 20 of 20 images are in {tmp_path}",
    ]
    with Loader(dataset, "val", batch_size=20, transform=PLAIN, decoded=tmp_path, decoded_check="always") as loader:
        assert [len(batch.images) for batch in loader] == [20]
        assert loader.bytes_read == 0


def test_what_cannot_be_is_one_line(dataset: Dataset, indexed: Dataset, tmp_path: Path) -> None:
    assert decode(dataset, "--decoded", tmp_path, "--decoded-bytes", "1kB").exit_code == 0
    for words, line in (
        ((indexed, "--decoded", tmp_path), "train.decoded.json: the pixels are those of another dataset; give another"),
        ((dataset, "--decoded", tmp_path, "--split", "test"), "has no split 'test'; it has: train, val"),
        ((dataset, "--decoded", tmp_path, "--decoded-bytes", "2 gallons"), "'2 gallons' is not a number of bytes"),
        ((dataset, "--decoded", tmp_path / "train.decoded.json"), "is a file, but a folder is needed there"),
    ):
        result = decode(*words)
        assert result.exit_code == 2
        assert line in result.stderr


@pytest.mark.parametrize(
    ("text", "count"),
    [("200GB", 200 * 10**9), ("1.5 kB", 1500), ("64MiB", 2**26), ("7", 7), ("7b", 7), ("2tb", 2 * 10**12)],
)
def test_bytes_are_given_with_or_without_a_unit(text: str, count: int) -> None:
    assert ByteCount().convert(text, None, None) == count
    with pytest.raises(click.BadParameter, match="is not a number of bytes"):
        ByteCount().convert(f"-{text}", None, None)
