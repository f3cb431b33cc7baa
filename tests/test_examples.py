"""Every file in examples/ runs as its first lines say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from freelight.shards import Dataset

EXAMPLES = Path(__file__).parents[1] / "examples"
FRAMEWORKS = Path(__file__).with_name("frameworks")
PRINTED = {
    "loader.py": r"loss \d\.\d+ -> \d\.\d+ in 4 steps",
    "own_augmentation.py": r"standard deviation of the pixels: \d+\.\d\d, with Contrast \d+\.\d\d",
    "own_recipe.py": r"mine \(compared with paper\), with .*schedule=steps.*",
}


def test_every_example_is_tested() -> None:
    """Here, or in tests/frameworks."""
    elsewhere = "".join(path.read_text() for path in FRAMEWORKS.glob("test_*.py"))
    names = [path.name for path in EXAMPLES.glob("*.py") if path.name not in PRINTED]
    assert [name for name in names if f'"{name}"' not in elsewhere] == []


def test_an_example_of_a_framework_is_short() -> None:
    """One that trains by a published recipe may be longer."""
    most = {"resnet50.py": 140, "timm_vit.py": 120, "simclr.py": 130}
    lines = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert [name for name, count in lines.items() if name not in PRINTED and count > most.get(name, 60)] == []


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs_and_prints_its_result(name: str, dataset: Dataset) -> None:
    path = EXAMPLES / name
    words = ["DATASET"] if "DATASET`" in path.read_text() else []
    arguments = [str(dataset.folder) for _ in words]
    done = subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(PRINTED[name], done.stdout.splitlines()[0])
    if name == "own_augmentation.py":
        without, with_contrast = map(float, re.findall(r"\d+\.\d\d", done.stdout))
        assert without != with_contrast
