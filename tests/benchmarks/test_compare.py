"""`benchmark compare`: our side is measured as the others are, and what is absent has a reason."""

import json
from pathlib import Path

import pytest
from benching import run
from PIL import Image

from freelight.benchmarks.compare import ALL
from freelight.benchmarks.peers import HOME


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of one colour each in four classes."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        path = folder / "train" / f"class-{number % 4}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 260 + number), (6 * number, 100, 60)).save(path, quality=95)
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
def test_all_software_is_measured_and_what_saves_a_state_resumes_with_the_same_samples(
    images: Path, tmp_path: Path
) -> None:
    absent = [(one.name, why) for one in ALL if (why := one.why_absent(HOME))]
    if absent:
        pytest.skip(f"{absent[0][0]}: {absent[0][1]}")
    record = tmp_path / "record.json"
    done = run("compare", "--images", images, "--batch-size", "4", "--rounds", "1", "--record", record)
    assert done.returncode == 0, done.stderr
    found = json.loads(record.read_text())
    assert [one["name"] for one in found["contenders"] if one["absent"]] == []
    same = {figure["name"]: figure["value"] for figure in found["figures"] if figure["name"].startswith("same")}
    assert same["same samples: Freelight"] == same["same pixels: Freelight"] == 100
    assert same["same samples: LitData + torchvision"] == 100
    assert same["same samples: MosaicML Streaming + torchvision"] == 100
