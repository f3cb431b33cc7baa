"""The Python code in the how-to documents runs unchanged."""

import io
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from freelight.pipeline import draw_epoch
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


def test_policies_are_used_and_written_as_the_howto_says(dataset: Dataset, tmp_path: Path) -> None:
    """A policy of one's own gives its reference, within a grey level of DALI's and Pillow's resizing."""
    names = run_blocks("use-policies.md", tmp_path)
    loader = names["make_loader"](dataset, names["LightPolicy"]())
    (image, *_), sample = next(iter(loader)).images.numpy(), int(draw_epoch(60, seed=0, epoch=0).order[0])
    picture = np.asarray(Image.open(io.BytesIO(loader.split.read(sample))))
    expected = loader.transform.apply(picture, draw_epoch(60, seed=0, epoch=0), sample, None)
    assert np.abs(image - expected).mean() < 0.02


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
