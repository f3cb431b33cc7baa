"""`benchmark compare`: our side is measured as the others are, and what is absent has a reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from benching import run
from PIL import Image

from freelight.benchmarks.compare import ALL, Software, run_side
from freelight.benchmarks.geometries import all_as_train
from freelight.benchmarks.peers import HOME
from freelight.shards import Rescaling, ShardSettings, make_shards


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures in four classes. No two windows of one are equal."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(40):
        path = folder / "train" / f"class-{number % 4}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(256, size=(260 + number, 300, 3), dtype=np.uint8)).save(path)
    return folder


def cells(table: str) -> dict[str, list[str]]:
    """Return the rows of a Markdown table by their first cell."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    return {first: rest for first, *rest in rows}


@pytest.mark.slow
def test_without_the_others_only_ours_is_measured_and_it_resumes_exactly(images: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    done = run(
        "compare", "--images", images, "--batch-size", "8", "--rounds", "1", "--peers", tmp_path, "--record", record
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(record.read_text())
    rows = cells(found["tables"][0])
    assert [name for name, row in rows.items() if set(row) == {"-"}] == [one.name for one in ALL[1:]]
    numbers = [float(cell.replace(",", "")) for cell in rows["Freelight"]]
    assert min(numbers) > 0
    assert numbers[-2:] == [100, 100]  # % of the later batches with the same samples, and with the same pixels
    absent = {one["name"]: one["absent"] for one in found["contenders"]}
    assert absent["prepare: Freelight"] is None
    assert "run: freelight benchmark peers ffcv" in absent["square, uint8: FFCV"]


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("one", [one for one in ALL if one.outputs], ids=lambda one: one.side)
def test_a_side_loads_its_own_format_and_resumes_with_the_same_samples(
    one: Software, images: Path, tmp_path: Path
) -> None:
    """Only ours resumes with the same pixels."""
    if absent := one.why_absent(HOME):
        pytest.skip(absent)
    dataset = tmp_path / "dataset"
    make_shards(all_as_train(images), dataset, ShardSettings(rescaling=Rescaling(size=256), samples_per_shard=10))
    words: list[object] = [dataset, "random", 4, "uint8"]
    if one.converts:
        words[0] = tmp_path / "converted"
        run_side(one, HOME, "convert", dataset, words[0])
    started = run_side(one, HOME, "start", *words)
    assert started["seconds"] > 0.1
    assert 50 < started["memory_mb"] < 5000
    if one.resumes:
        stopped = run_side(one, HOME, "stop", *words, tmp_path / "state", 5)
        resumed = run_side(one, HOME, "resume", *words, tmp_path / "state")
        assert len(stopped) == 5
        assert [labels for labels, _ in resumed["rest"]] == [labels for labels, _ in stopped]
        assert (resumed["rest"] == stopped) == (one is ALL[0])
