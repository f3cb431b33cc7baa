"""Who writes a reader from the pages about formats reads what Freelight reads. The pages' own code does it here."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_tars import sample, write_tars
from PIL import Image

from freelight.shards import (
    Dataset,
    Rescaling,
    ShardSettings,
    index_shards,
    list_images,
    list_tars,
    make_shards,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/dataset-format.md"


def reader_of(page: Path) -> Any:
    """Return the class of the page's first Python block, without the lines that use it."""
    (code, *_) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.partition("\nreader = ")[0], names)
    return names["SplitReader"]


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
def test_the_reader_of_the_page_reads_what_ours_reads(kind: str, request: pytest.FixtureRequest) -> None:
    dataset = request.getfixturevalue(kind)
    for name in dataset.manifest.splits:
        split, reader = dataset.split(name), reader_of(PAGE)(dataset.folder, name)
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


def test_a_changed_byte_stops_the_reader_of_the_page(made: Dataset, tmp_path: Path) -> None:
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    content = bytearray((folder / "val-000000.tar").read_bytes())
    content[int(made.split("val").samples["offset"][2]) + 40] ^= 1
    (folder / "val-000000.tar").write_bytes(content)
    reader = reader_of(PAGE)(folder, "val")
    assert reader.picture(1) == made.split("val").read(1)
    with pytest.raises(AssertionError, match="sample 2 was changed"):
        reader.picture(2)


@pytest.mark.parametrize("table", ["## The manifest", "Of each split:"])
def test_the_page_names_every_key_of_a_manifest(table: str, made: Dataset) -> None:
    """A key that the page lacks, or has though no manifest does, misleads who writes a reader."""
    rows = PAGE.read_text().partition(table)[2].partition("\n\n| key | value |\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)` ", rows, re.MULTILINE))
    content = json.loads(made.manifest.to_bytes())
    if table.startswith("##"):
        assert named == set(content) | {"appended"}
        (settings,) = re.findall(r"^\| `made_with` \|(.*)$", rows, re.MULTILINE)
        assert {name for name in content["made_with"] if f"`{name}`" not in settings} == set()
    else:
        assert named == set(content["splits"]["train"]) | {"indexed", "base", "fields"}
