"""tools/benchmark pca measures all of its contenders on the shards it is given."""

import json
import sys
from pathlib import Path

from click.testing import CliRunner

from freelight.shards import Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from benchmarks import pca


def test_the_record_has_every_contender_and_floor(dataset: Dataset, tmp_path: Path) -> None:
    """Not their values: speed is no matter of tests."""
    words = ["--shards", str(dataset.folder), "--rounds", "1", "--incremental", "2"]
    result = CliRunner().invoke(pca.command, [*words, "--record", str(tmp_path / "pca.json")])
    assert result.exit_code in (0, 1), result.output
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
    result = CliRunner().invoke(pca.command, ["--shards", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not a finished dataset" in result.stderr
