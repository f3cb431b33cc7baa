"""tools/benchmark pca measures all of its contenders on the shards it is given."""

import json
import subprocess
import sys
from pathlib import Path

from freelight.shards import Dataset

TOOL = Path(__file__).parents[2] / "tools" / "benchmark"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, which has no workers yet."""
    words = [sys.executable, str(TOOL), "pca", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_record_has_every_contender_and_floor(dataset: Dataset, tmp_path: Path) -> None:
    """Not their values: speed is no matter of tests."""
    words = ["--shards", dataset.folder, "--rounds", "1", "--incremental", "2", "--record", tmp_path / "pca.json"]
    done = run(*words)
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
    done = run("--shards", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "is not a finished dataset" in line
