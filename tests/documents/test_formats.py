"""Who writes a reader from the pages about formats reads what Freelight reads. The pages' own code does it here."""

import io
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_tars import sample, write_tars
from page_tables import REFERENCE, named_in_table
from PIL import Image

from freelight.shards import (
    Dataset,
    Rescaling,
    ShardSettings,
    compute_statistics,
    index_shards,
    list_images,
    list_tars,
    make_shards,
)
from freelight.train import Mesh, NetworkConfig, Recipe, TrainingConfig, TrainingState

ROOT = Path(__file__).parents[2]
PAGE = REFERENCE / "dataset-format.md"
CHECKPOINTS = REFERENCE / "checkpoint-format.md"


def reader_of(page: Path, name: str) -> Any:
    """Return the class of that name in the page's first Python block, without the lines that use it."""
    (code, *_) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(re.split(r"^(?:with|reader =) ", code, flags=re.MULTILINE)[0], names)
    return names[name]


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Whole images of several sizes, with metadata, in several shards."""
    folder = tmp_path_factory.mktemp("formats") / "made"
    settings = ShardSettings(rescaling=Rescaling(geometry="original"), samples_per_shard=16, metadata=True)
    make_shards(list_images(pictures), folder, settings)
    return Dataset(folder)


@pytest.fixture
def indexed(tmp_path: Path) -> Dataset:
    """Tars with numbers and boxes, a PNG, and a key that the index must escape."""
    samples = [sample(number) for number in range(6)]
    picture = io.BytesIO()
    Image.new("RGB", (9, 7)).save(picture, "PNG")
    samples[3] = [("a b/c%d.png", picture.getvalue()), ("a b/c%d.cls", b"1"), ("a b/c%d.json", b'{"label": 1}')]
    for number, members in enumerate(samples):
        name, content = members.pop()
        boxes = [[1, 2, 3 + row, 4] for row in range(number % 3)]
        members.append((name, json.dumps({**json.loads(content), "boxes": boxes}).encode()))
    write_tars(tmp_path / "tars", "t", samples, 4)
    fields = ["label=json:label", "boxes=json:boxes"]
    index_shards(list_tars([f"train={tmp_path}/tars/t-*.tar"], fields=fields), tmp_path / "indexed")
    return Dataset(tmp_path / "indexed")


@pytest.fixture
def schema_1() -> Dataset:
    return Dataset(ROOT / "tests/data/release-0.1/dataset")


@pytest.mark.parametrize("kind", ["made", "indexed", "schema_1"])
def test_the_reader_of_datasets_reads_what_ours_reads(kind: str, request: pytest.FixtureRequest) -> None:
    dataset = request.getfixturevalue(kind)
    for name in dataset.manifest.splits:
        split, reader = dataset.split(name), reader_of(PAGE, "SplitReader")(dataset.folder, name)
        assert len(reader.samples) == len(split) > 0
        for column in reader.samples.dtype.names:
            np.testing.assert_array_equal(reader.samples[column], split.samples[column])
        for i in range(len(split)):
            assert reader.picture(i) == split.read(i)
            assert reader.key(i).decode() == split.key(i)
            assert reader.sources[i].decode() == split.sources[i]
            assert reader.metadata(i) == split.metadata(i)
            for field in split.fields:
                np.testing.assert_array_equal(reader.field(field, i), split.field(field, i))


def test_a_changed_byte_stops_the_reader_of_datasets(made: Dataset, tmp_path: Path) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    content = bytearray((folder / "val-000000.tar").read_bytes())
    content[int(made.split("val").samples["offset"][2]) + 40] ^= 1
    (folder / "val-000000.tar").write_bytes(content)
    reader = reader_of(PAGE, "SplitReader")(folder, "val")
    assert reader.picture(1) == made.split("val").read(1)
    with pytest.raises(AssertionError, match="sample 2 was changed"):
        reader.picture(2)


def test_the_page_names_every_key_of_a_manifest(made: Dataset) -> None:
    """A key that the page lacks, or has though no manifest does, misleads who writes a reader."""
    content = json.loads(made.manifest.to_bytes())
    assert named_in_table(PAGE, "## The manifest") == {*content, "appended"}
    assert named_in_table(PAGE, "Of each split:") == {*content["splits"]["train"], "indexed", "base", "fields"}
    (settings,) = re.findall(r"^\| `made_with` \|(.*)$", PAGE.read_text(), re.MULTILINE)
    assert {name for name in content["made_with"] if f"`{name}`" not in settings} == set()


def test_the_page_names_every_column_and_array(made: Dataset) -> None:
    assert named_in_table(PAGE, "## Samples") == set(made.split("train").samples.dtype.names or ())
    arrays = named_in_table(PAGE, "## Statistics")
    assert arrays == {"mean_image", *compute_statistics(made).asdict()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of this version, before the first step."""
    dataset = Dataset(ROOT / "tests/data/release-0.1/dataset")
    network = NetworkConfig(width=0.01)
    recipe = Recipe(name="small", network=network, crop_size=64, batch_size=2, epochs=1, schedule="steps")
    config = TrainingConfig(shards=str(dataset.folder), out=tmp_path / "run", recipe=recipe, compile_=False)
    state = TrainingState(config, Mesh(), "cpu")
    state.note_start()
    state.checkpoint().save(tmp_path / "new.pt")
    return tmp_path / "new.pt"


def test_the_reader_of_checkpoints_reads_what_torch_reads(checkpoint: Path) -> None:
    for path in (checkpoint, ROOT / "tests/data/release-0.1/run/last.pt"):
        with zipfile.ZipFile(path) as archive:
            found = reader_of(CHECKPOINTS, "CheckpointReader")(archive).load()
        expected = torch.load(path, weights_only=True)
        assert found.keys() == expected.keys()
        for part in ("weights", "velocity", "statistics"):
            assert found[part].keys() == expected[part].keys()
            for name, value in expected[part].items():
                assert (
                    found[part][name] == value if isinstance(value, str) else np.array_equal(found[part][name], value)
                )
        for part in found.keys() - {"weights", "velocity", "statistics"}:
            assert found[part] == expected[part]


def test_the_page_names_every_entry_of_a_checkpoint(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    assert named_in_table(CHECKPOINTS, "## The content") == set(content)
    page = CHECKPOINTS.read_text()
    nested = {**content["rescaling"], **content["statistics"], **content["history"][0], **content["progress"]}
    nested |= {**content["progress"]["loader"], **content["progress"]["schedule"]}
    assert {name for name in nested if f"`{name}`" not in page and f'"{name}"' not in page} == set()


def test_the_reader_of_checkpoints_executes_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.pt", "w") as archive:
        archive.writestr("bad/data.pkl", pickle.dumps(Path("elsewhere")))
        reader = reader_of(CHECKPOINTS, "CheckpointReader")(archive)
    with pytest.raises(pickle.UnpicklingError, match=r"pathlib.* is nothing that a checkpoint holds"):
        reader.load()
