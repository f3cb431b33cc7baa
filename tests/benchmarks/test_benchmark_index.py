"""The benchmark of index_shards links real shards until they have enough samples, and indexes the links."""

import json
from pathlib import Path

import pytest
from benching import call

from freelight.benchmarks import index
from freelight.shards import Dataset


def test_real_shards_are_linked_until_there_are_enough_samples(dataset: Dataset, tmp_path: Path) -> None:
    """Four shards of 15 samples: six links have 90 samples, five only 75."""
    split = dataset.split("train")
    folder = index.link_tars(split, 77, tmp_path / "tars")
    names = [shard.name for shard in split.info.shards]
    targets = [path.readlink() for path in sorted(folder.iterdir())]
    assert targets == [(dataset.folder / name).absolute() for name in (*names, *names[:2])]


@pytest.mark.slow
def test_every_sample_is_indexed_in_each_round(dataset: Dataset, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    result = call(index.command, "--shards", dataset.folder, "--samples", 100, "--rounds", "1", "--record", record)
    assert result.exit_code in (0, 1), result.stderr
    written = json.loads(record.read_text())
    (contender,) = written["contenders"]
    assert contender["laps"][0]["items"] == 7 * 15
    assert [floor["unit"] for floor in written["floors"]] == ["s", "MB"]
    assert all(floor["value"] > 0 for floor in written["floors"])
