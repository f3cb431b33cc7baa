"""The Python code in the how-to documents runs unchanged."""

import re
import runpy
from pathlib import Path
from typing import Any

from PIL import Image

from freelight.shards import Dataset

HOWTO = Path(__file__).parents[1] / "docs/howto"


def run_blocks(document: str, folder: Path) -> dict[str, Any]:
    """Run the Python blocks of a how-to as one module, and return its names."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (HOWTO / document).read_text(), re.MULTILINE | re.DOTALL)
    module = folder / "howto.py"
    module.write_text("\n".join(blocks))
    return runpy.run_path(str(module))


def test_an_augmentation_added_as_the_howto_says_equals_its_reference(dataset: Dataset, tmp_path: Path) -> None:
    names = run_blocks("add-an-augmentation.md", tmp_path)
    names["test_contrast_equals_its_reference"](dataset)


def test_policies_are_used_as_the_howto_says(dataset: Dataset, tmp_path: Path) -> None:
    make_loader = run_blocks("use-policies.md", tmp_path)["make_loader"]
    (policy,) = make_loader(dataset, "rand-m9-mstd0.5-inc1").transform.ops
    assert (policy.magnitude, policy.std, policy.increasing) == (9, 0.5, True)


def test_a_recipe_written_as_the_howto_says_prints_its_header_and_its_differences(tmp_path: Path) -> None:
    names = run_blocks("add-a-recipe.md", tmp_path)
    lines = names["show"]().splitlines()
    assert lines[0].startswith("mine (compared with paper), with ")
    assert "schedule=steps" in lines[0]
    assert lines[2] == names["MINE"].header.summary


def test_a_layout_written_as_the_howto_says_makes_a_dataset(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    files = [f"{number}.png" for number in range(10)]
    for number, file in enumerate(files):
        Image.new("RGB", (300, 260), (25 * number, 100, 60)).save(images / file)
    (images / "labels.csv").write_text("\n".join(f"{file},class-{number % 2}" for number, file in enumerate(files)))
    run_blocks("add-a-layout.md", tmp_path)["make"](images, tmp_path / "dataset")
    made = Dataset(tmp_path / "dataset")
    assert {name: len(made.split(name)) for name in made.manifest.splits} == {"train": 8, "val": 2}
    assert [info.id for info in made.manifest.classes] == ["class-0", "class-1"]
