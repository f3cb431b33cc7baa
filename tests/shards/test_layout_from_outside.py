"""A layout is added from outside: an object with four members, and no edit in the package."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from making import SMALL, Stop, files, identities
from PIL import Image

from freelight.shards import Dataset, FreelightError, Layout, OrderedSource, Source, list_images, make_shards
from freelight.shards.sources import UNLABELLED, ByClass, Labelling, Listing, Picture, SourceImage


class TableLayout:
    """Pictures in one folder, with a table `labels.csv` of file name and class."""

    name = "table"
    expected = "labels.csv beside the pictures"

    def recognises(self, images: Path) -> bool:
        return (images / "labels.csv").is_file()

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        by_class: ByClass = {}
        for file, class_id in csv.reader((images / "labels.csv").read_text().splitlines()):
            status = (images / file).stat()
            image = SourceImage(file, UNLABELLED, file, 0, status.st_size, status.st_mtime_ns)
            by_class.setdefault(class_id, []).append(image)
        return Listing(root=images, layout=self.name, splits={"train": by_class})


@dataclass(frozen=True)
class Joined:
    """All pictures in one file, each behind a line of class and length: it can only be read in order."""

    split: str
    file: str
    in_worker: bool

    def read(self, root: Path, wanted: frozenset[str] | None) -> Iterator[Picture]:
        with (root / self.file).open("rb") as stream:
            number = 0
            while line := stream.readline():
                class_id, length = line.decode().split()
                data = stream.read(int(length))
                if wanted is None or class_id in wanted:
                    yield Picture(f"{self.file}/{number:04d}", class_id, data)
                number += 1


@dataclass(frozen=True)
class JoinedLayout:
    """A file `pictures.joined`."""

    in_worker: bool
    name: str = "joined"
    expected: str = "pictures.joined"

    def recognises(self, images: Path) -> bool:
        return (images / self.expected).is_file()

    def list_source(self, images: Path, labelling: Labelling) -> OrderedSource:
        pieces = (Joined("train", self.expected, self.in_worker),)
        return OrderedSource(root=images, layout=self.name, pieces=pieces, labelling=labelling)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Thirty pictures of three classes, in both layouts; in both they sort in the same order."""
    folder = tmp_path / "images"
    folder.mkdir()
    rows, joined = [], b""
    for number in range(30):
        path = folder / f"{number:04d}.png"
        Image.new("RGB", (40, 50), (8 * number, 100, 255 - 8 * number)).save(path)
        rows.append(f"{path.name},class-{number % 3}")
        joined += f"class-{number % 3} {path.stat().st_size}\n".encode() + path.read_bytes()
    (folder / "labels.csv").write_text("\n".join(rows))
    (folder / "pictures.joined").write_bytes(joined)
    return folder


def stopped(source: Source | OrderedSource, out: Path) -> None:
    """Start a dataset, and stop after two shards."""

    def watch(records: object, total: int | None) -> Iterator[object]:
        for count, record in enumerate(records):  # type: ignore[arg-type, var-annotated]
            if count == 2:
                raise Stop
            yield record

    with pytest.raises(Stop):
        make_shards(source, out, SMALL, watch=watch)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", [TableLayout(), JoinedLayout(in_worker=False), JoinedLayout(in_worker=True)])
def test_a_layout_from_outside_makes_a_dataset_on_two_workers_and_resumes(
    layout: Layout, images: Path, tmp_path: Path
) -> None:
    def listed() -> Source | OrderedSource:
        return list_images(images, layout=layout, val_fraction=0.2)

    make_shards(listed(), tmp_path / "whole", SMALL, workers=2)
    out = tmp_path / "out"
    stopped(listed(), out)
    before = identities(out)
    make_shards(listed(), out, SMALL, workers=2)
    after = identities(out)
    kept = [f"{name[9:-7]}.tar" for name in before if name.endswith(".record")]
    assert len(kept) >= 2
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}, "a shard was written again"
    assert files(out) == files(tmp_path / "whole")
    made = Dataset(out)
    assert made.manifest.source["layout"] == layout.name
    assert [info.id for info in made.manifest.classes] == ["class-0", "class-1", "class-2"]
    assert {name: len(made.split(name)) for name in made.manifest.splits} == {"train": 24, "val": 6}


def test_layouts_that_are_read_in_order_and_at_random_give_the_same_bytes(images: Path, tmp_path: Path) -> None:
    layouts: tuple[Layout, ...] = (TableLayout(), JoinedLayout(in_worker=False), JoinedLayout(in_worker=True))
    for number, layout in enumerate(layouts):
        make_shards(list_images(images, layout=layout), tmp_path / str(number), SMALL)
    shards = [{path.name: path.read_bytes() for path in (tmp_path / str(n)).glob("*.tar")} for n in range(3)]
    assert shards[0]
    assert shards[0] == shards[1] == shards[2]


def test_the_classes_and_names_of_a_subset_apply_to_a_layout_from_outside(images: Path, tmp_path: Path) -> None:
    (tmp_path / "subset").write_text("class-2\nclass-0\n")
    for number, layout in enumerate((TableLayout(), JoinedLayout(in_worker=True))):
        source = list_images(images, layout=layout, classes=tmp_path / "subset")
        manifest = make_shards(source, tmp_path / str(number), SMALL)
        assert [info.id for info in manifest.classes] == ["class-0", "class-2"]
        assert manifest.splits["train"].samples == 20


def test_a_folder_without_the_layouts_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"`images` .* does not have `layout` table; expected labels\.csv beside"):
        list_images(tmp_path, layout=TableLayout())


def test_an_output_within_loose_files_of_a_layout_from_outside_is_refused(images: Path) -> None:
    """The next listing could include the shards. A source in archives may hold its own output."""
    with pytest.raises(FreelightError, match=r"`out` .* lies within `images`"):
        make_shards(list_images(images, layout=TableLayout()), images / "out", SMALL)
    make_shards(list_images(images, layout=JoinedLayout(in_worker=True)), images / "out", SMALL)
