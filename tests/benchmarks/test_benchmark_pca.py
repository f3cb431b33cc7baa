"""tools/benchmark pca measures all of its contenders on the shards it is given."""

import json
from pathlib import Path

import pytest
from benching import call, run

from freelight.benchmarks import pca
from freelight.shards import Dataset


@pytest.mark.slow
def test_the_record_has_every_contender_and_floor(dataset: Dataset, tmp_path: Path) -> None:
    """Values are not checked, because tests do not judge speed. By path, because a new process has no workers yet."""
    words = ["--shards", dataset.folder, "--rounds", "1", "--incremental", "2", "--record", tmp_path / "pca.json"]
    done = run("pca", *words)
    assert done.returncode in (0, 1), done.stderr
    record = json.loads((tmp_path / "pca.json").read_text())
    laps = {contender["name"]: contender["laps"] for contender in record["contenders"]}
    assert {name: found[0]["items"] for name, found in laps.items()} == {
        "decoding": 60,
        "compute_pca, 1 worker": 60,
        "IncrementalPCA loop": 2,
        "compute_pca, 2 workers": 60,
    }
    bounds = {floor["name"]: floor["at_least"] or floor["at_most"] for floor in record["floors"]}
    assert bounds == {
        "compute_pca, 1 worker / decoding": 0.6,
        "compute_pca, 1 worker / IncrementalPCA loop": 5,
        "peak memory of a worker": 400,
    }
    memory = record["floors"][-1]
    assert 50 < memory["value"] <= memory["at_most"]


def test_a_folder_that_is_no_dataset_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = call(pca.command, "--shards", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "is not a finished dataset" in line
