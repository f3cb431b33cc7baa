"""`make_shards --metadata`: each sample has a `.json`, which the split reads and the loader hands out."""

import gzip
import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import SMALL, files
from miniatures import tar_of
from PIL import Image
from wds2idx import IndexCreator

from freelight.pipeline import CenterCrop, Lighting, Loader, Transform
from freelight.shards import Dataset, FreelightError, Source, list_images, make_shards, verify_dataset

SETTINGS = replace(SMALL, metadata=True)


@pytest.fixture(scope="module")
def described(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("described") / "dataset"
    make_shards(source, folder, SETTINGS)
    return Dataset(folder)


def expected(dataset: Dataset, root: Path, split: str, sample: int) -> dict[str, Any]:
    opened = dataset.split(split)
    info = dataset.manifest.classes[opened.samples["label"][sample]]
    with Image.open(root / opened.sources[sample]) as image:
        width, height = image.size
    return {
        "class_id": info.id,
        "class_name": info.name,
        "source": opened.sources[sample],
        "original_height": height,
        "original_width": width,
    }


def test_each_sample_has_its_class_and_the_path_and_size_of_its_source(described: Dataset, pictures: Path) -> None:
    for name in described.manifest.splits:
        split = described.split(name)
        for sample in range(len(split)):
            assert split.metadata(sample) == expected(described, pictures, name, sample)


def test_the_json_follows_label_and_picture_in_the_tar_and_in_dalis_index(described: Dataset, tmp_path: Path) -> None:
    split = described.split("train")
    path = described.folder / "train-000000.tar"
    with tarfile.open(path) as tar:
        names = tar.getnames()
        content = tar.extractfile(names[2]).read()  # type: ignore[union-attr]
    assert names[:3] == [f"{split.key(0)}.{kind}" for kind in ("cls", "jpg", "json")]
    assert content.isascii()
    assert list(json.loads(content)) == ["class_id", "class_name", "source", "original_height", "original_width"]
    with IndexCreator(str(path), str(tmp_path / "idx"), verbose=False) as creator:
        creator.create_index()
    assert (tmp_path / "idx").read_text() == path.with_suffix(".idx").read_text()


def test_pictures_labels_and_order_are_those_without_metadata(described: Dataset, small: Path) -> None:
    for name in described.manifest.splits:
        with_, without = described.split(name), Dataset(small).split(name)
        columns = [column for column in with_.samples.dtype.names if column != "offset"]
        assert (with_.samples[columns] == without.samples[columns]).all()
    assert Dataset(small).split("train").metadata(0) is None


def test_the_size_is_that_of_the_upright_source_in_every_way_of_reading(tmp_path: Path) -> None:
    """A picture that EXIF turns, in a folder and in a tar.gz, which is read in order; and one without a label."""
    exif = Image.Exif()
    exif[0x0112] = 6
    tree, archives = tmp_path / "tree", tmp_path / "archives"
    (tree / "train/é").mkdir(parents=True)
    (tree / "test").mkdir()
    Image.new("RGB", (50, 40), (90, 20, 30)).save(tree / "train/é/a.JPEG", exif=exif)
    data = (tree / "train/é/a.JPEG").read_bytes()
    (tree / "test/b.JPEG").write_bytes(data)
    archives.mkdir()
    for name in ("train_images_0", "val_images", "test_images"):
        (archives / f"{name}.tar.gz").write_bytes(gzip.compress(tar_of([("a_n01440764.JPEG", data)])))
    size = {"original_height": 50, "original_width": 40}
    for images, class_id in ((tree, "é"), (archives, "n01440764")):
        out = tmp_path / f"{images.name}-out"
        make_shards(list_images(images), out, SETTINGS)
        split = Dataset(out).split("train")
        found = split.metadata(0)
        assert found == {"class_id": class_id, "class_name": found["class_name"], "source": split.sources[0], **size}
    unlabelled = {"class_id": None, "class_name": None, "source": "test/b.JPEG"}
    assert Dataset(tmp_path / "tree-out").split("test").metadata(0) == {**unlabelled, **size}


def test_the_loader_hands_the_metadata_out_in_the_order_of_the_batch(described: Dataset) -> None:
    transform = Transform(crop=CenterCrop(size=16), mean="none", lighting=Lighting(mode="off"))
    split = described.split("train")
    loader = Loader(described, "train", batch_size=7, transform=transform, extras=("metadata", "samples"))
    for _ in range(2):
        seen = []
        for batch in loader:
            assert batch._fields == ("images", "labels", "samples", "metadata")
            assert batch.metadata == [split.metadata(sample) for sample in batch.samples.tolist()]
            seen += batch.samples.tolist()
        assert sorted(seen) == list(range(len(split)))


def test_a_loader_of_a_dataset_without_metadata_says_how_to_make_it(small: Path) -> None:
    transform = Transform(crop=CenterCrop(size=16), mean="none", lighting=Lighting(mode="off"))
    with pytest.raises(FreelightError, match=r"has no metadata of train for `extras`; .* make-shards .* --metadata"):
        Loader(small, "train", batch_size=7, transform=transform, extras=("metadata",))


@pytest.fixture
def copy(described: Dataset, tmp_path: Path) -> Path:
    for name, data in files(described.folder).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def edit_json(folder: Path) -> None:
    """Overwrite the first character of a sample's `.json`."""
    table = np.load(folder / "train.metadata.npy")
    with (folder / "train-000000.tar").open("r+b") as file:
        file.seek(int(table["offset"][2]))
        file.write(b"[")


def test_a_changed_json_is_found_and_named(copy: Path) -> None:
    assert verify_dataset(copy) == []
    edit_json(copy)
    assert verify_dataset(copy, level="crc") == [
        f"{copy}/train-000000.tar: the .json of a sample is changed; make the dataset again"
    ]
    split = Dataset(copy).split("train")
    with pytest.raises(FreelightError, match=rf"the \.json of .*{split.key(2)}.* is not valid JSON"):
        split.metadata(2)


@pytest.mark.parametrize(("column", "value"), [("length", 2**21), ("offset", 2**63), ("offset", 2**40)])
def test_a_row_outside_its_shard_is_refused(column: str, value: int, copy: Path) -> None:
    """Also in a table whose hash a stranger put into the manifest."""
    path = copy / "train.metadata.npy"
    table = np.load(path)
    table[column][3] = value
    np.save(path, table)
    with pytest.raises(FreelightError, match="was changed after it was written"):
        Dataset(copy).split("train").metadata(0)
    content = json.loads((copy / "dataset.json").read_text())
    content["splits"]["train"]["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(FreelightError, match=rf"row 3: {column} "):
        Dataset(copy).split("train").metadata(0)
