"""Parquet files: a bad row is left out with its reason, a bad file is one line, and no file takes any memory."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from freelight.shards import FreelightError, OrderedSource, Rescaling, ShardSettings, list_images, make_shards

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
TINY = ShardSettings(rescaling=Rescaling(size=16), samples_per_shard=5)
TOOL = Path(__file__).parents[3] / "tools" / "make_shards"
NAME = "train-00000-of-00001.parquet"


def jpeg(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (20, 20), grey).save(buffer, "JPEG")
    return buffer.getvalue()


def table(rows: list[tuple[dict[str, Any] | None, int | None]], names: object = None, image: Any = IMAGE) -> Any:
    """A table of (image, label) rows; names: of the classes."""
    columns = {
        "image": pyarrow.array([image for image, _ in rows], image),
        "label": pyarrow.array([label for _, label in rows], pyarrow.int64()),
    }
    made = pyarrow.table(columns)
    if names is None:
        return made
    features = {"info": {"features": {"label": {"names": names}}}}
    return made.replace_schema_metadata({"huggingface": json.dumps(features)})


def sound(labels: list[int]) -> list[tuple[dict[str, Any] | None, int | None]]:
    return [({"bytes": jpeg(place), "path": f"{place}.jpg"}, label) for place, label in enumerate(labels)]


def write(content: Any, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(content, path, **options)
    return path


def test_a_bad_row_is_left_out_with_its_reason(tmp_path: Path) -> None:
    bad: list[tuple[dict[str, Any] | None, int | None, str]] = [
        (None, 0, "the image is null"),
        ({"bytes": None, "path": "b.jpg"}, 0, "the image is null"),
        ({"bytes": jpeg(1), "path": "c.jpg"}, None, "the label is null"),
        ({"bytes": jpeg(1), "path": "d.jpg"}, -1, "the label is -1"),
        ({"bytes": jpeg(1), "path": "e.jpg"}, 2, "the label is 2, but the file names 2 classes"),
        ({"bytes": jpeg(1), "path": "f\n.jpg"}, 0, "its path has a line break, a zero byte or more than 4096 bytes"),
        ({"bytes": jpeg(1), "path": "g" * 5000}, 0, "its path has a line break, a zero byte or more than 4096 bytes"),
        ({"bytes": b"", "path": "h.jpg"}, 0, "cannot decode: the file is empty"),
    ]
    rows = [(image, label) for image, label, _ in bad]
    write(table([*sound([0, 1, 1]), *rows], ["cat", "dog"]), tmp_path / "in" / NAME)
    made = make_shards(list_images(tmp_path / "in"), tmp_path / "out", TINY)
    assert (made.splits["train"].samples, made.splits["train"].rejected) == (3, len(bad))
    assert [info.name for info in made.classes] == ["cat", "dog"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert sorted(line["reason"] for line in lines) == sorted(reason for _, _, reason in bad)
    assert {line["path"].split("/")[0] for line in lines} == {NAME}


def test_a_path_that_is_not_utf_8_keeps_its_picture(tmp_path: Path) -> None:
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.binary())])
    write(
        table([({"bytes": jpeg(0), "path": b"\xff.jpg"}, 0)], image=image), tmp_path / "in" / NAME, store_schema=False
    )
    make_shards(list_images(tmp_path / "in"), tmp_path / "out", TINY)
    assert (tmp_path / "out" / "train.sources.txt").read_bytes() == f"{NAME}/".encode() + b"\xff.jpg\n"


def test_pictures_of_test_need_no_label(tmp_path: Path) -> None:
    write(table(sound([0, 1])), tmp_path / "in" / NAME)
    rows = [(image, label) for (image, _), label in zip(sound([0, 0]), (None, -1), strict=True)]
    write(table(rows), tmp_path / "in" / "test.parquet")
    made = make_shards(list_images(tmp_path / "in"), tmp_path / "out", TINY)
    assert (made.splits["test"].samples, made.splits["test"].labelled) == (2, False)


def test_a_listed_class_without_rows_leaves_the_other_names_in_place(tmp_path: Path) -> None:
    write(table(sound([0, 0, 2]), ["cat", "dog", "emu"]), tmp_path / "in" / NAME)
    made = make_shards(list_images(tmp_path / "in"), tmp_path / "out", TINY)
    assert [(info.id, info.name) for info in made.classes] == [("00000", "cat"), ("00002", "emu")]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["0000.parquet", "0001.parquet"], {"train": 2}),
        (["data/0000.parquet"], {"train": 1}),
        (["train/0000.parquet", "train/0001.parquet", "validation/0000.parquet"], {"train": 2, "val": 1}),
        (["default/train/0000.parquet", "default/test/0000.parquet"], {"train": 1, "test": 1}),
        (["data/Train.parquet", "data/valid_0.parquet", "data/._x.parquet"], {"train": 1, "val": 1}),
        (["train-00000-of-00002-a1b2c3.parquet", "validation-0.parquet"], {"train": 1, "val": 1}),
    ],
)
def test_names_of_files_and_folders_say_the_split(files: list[str], splits: dict[str, int], tmp_path: Path) -> None:
    for name in files:
        write(table(sound([0])), tmp_path / "in" / name)
    source = list_images(tmp_path / "in")
    assert isinstance(source, OrderedSource)
    assert {split: [piece.split for piece in source.pieces].count(split) for split in splits} == splits
    assert len(source.pieces) == sum(splits.values())


def test_one_file_is_a_source_also_with_groups_of_one_row(tmp_path: Path) -> None:
    path = write(table(sound([0, 1])), tmp_path / "mine.parquet", row_group_size=1)
    assert make_shards(list_images(path), tmp_path / "out", TINY).splits["train"].samples == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([NAME, "0000.parquet"], "0000.parquet is of no known split, unlike other files there"),
        (
            [NAME, "validation/0000.parquet"],
            f"{NAME} lies beside the folder validation/, which holds parquet files too",
        ),
    ],
)
def test_files_of_which_the_split_is_not_clear_are_an_error(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        write(table(sound([0])), tmp_path / name)
    with pytest.raises(FreelightError) as caught:
        list_images(tmp_path)
    assert message in str(caught.value)


def replace(column: str, values: list[Any]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = table(sound([0] * len(values)))
        write(content.set_column(content.schema.get_field_index(column), column, pyarrow.array(values)), path)

    return damage


def cut(keep: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def overwrite(path: Path) -> None:
    """The footer is sound, and the columns are not."""
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff" * 300 + data[304:])


def change(old: bytes, new: bytes) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replace("label", ["cat", "dog"]), "the column 'label' has the type string; expected"),
        (replace("label", [0.0, 1.0]), "the column 'label' has the type double; expected"),
        (replace("image", [b"a", b"b"]), "the column 'image' has the type binary; expected"),
        (replace("image", [{"path": "a"}, {"path": "b"}]), "the column 'image' has the type struct<path: string>"),
        (lambda path: write(pyarrow.table({"x": [1]}), path), "has the columns x; expected 'image'"),
        (lambda path: write(table(sound([0]), names=[1, 2]), path), "the class names: [0] (=1) must be a string"),
        (
            lambda path: write(table(sound([0])).replace_schema_metadata({"huggingface": "{"}), path),
            "the metadata of the library datasets is not valid JSON",
        ),
        (lambda path: path.write_bytes(b""), "cannot be read ("),
        (lambda path: path.write_bytes(b"PAR1" + bytes(100)), "cannot be read ("),
        (cut(0.5), "cannot be read ("),
        (cut(0.99), "cannot be read ("),
        (overwrite, "is damaged ("),
        (change(b"bytes", b"byt\xffs"), "cannot be read ('utf-8' codec can't decode byte 0xff"),
        # `bytes` becomes a required column. pyarrow ends the process when it is asked for the column's place.
        (change(b"\x25\x02\x18\x05bytes", b"\x25\x00\x18\x05bytes"), "cannot be read ("),
    ],
)
def test_a_bad_file_is_one_line(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = write(table(sound([0, 1])), tmp_path / "in" / NAME)
    damage(path)
    with pytest.raises(FreelightError) as caught:
        make_shards(list_images(tmp_path / "in"), tmp_path / "out", TINY)
    text = str(caught.value)
    assert f"{path}" in text
    assert message in text
    assert "\n" not in text


def test_files_with_different_class_names_are_an_error(tmp_path: Path) -> None:
    write(table(sound([0, 1]), ["cat", "dog"]), tmp_path / NAME)
    write(table(sound([0, 1]), ["dog", "cat"]), tmp_path / "validation.parquet")
    with pytest.raises(FreelightError, match=r"validation\.parquet has other class names than the files before it"):
        list_images(tmp_path)


def repeated(value: bytes, rows: int) -> Any:
    """A table whose pictures are one value of a dictionary."""
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array([value]))
    image = pyarrow.StructArray.from_arrays([values, pyarrow.nulls(rows, pyarrow.string())], ["bytes", "path"])
    return pyarrow.table({"image": image, "label": pyarrow.array([0] * rows, pyarrow.int64())})


BOMBS: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "a dictionary's value, 4.2 GB": (
        lambda: repeated(bytes(6 << 20), 700),
        {"store_schema": False, "dictionary_pagesize_limit": 1 << 30},
        "row group 0 unpacks to more than 536870912 bytes or 700 rows",
    ),
    "a page of 300 MB": (
        lambda: table([({"bytes": bytes(300 << 20), "path": ""}, 0)]),
        {"use_dictionary": False, "write_statistics": False},
        "has a page of 3145728",
    ),
    "a value of 130 MiB": (
        lambda: table([({"bytes": bytes(130 << 20), "path": ""}, 0)]),
        {"use_dictionary": False, "write_statistics": False},
        "has 136314880 bytes; a picture may have 128 MiB",
    ),
    "shared prefixes, 600 MB": (
        lambda: table([({"bytes": bytes(60 << 20), "path": ""}, 0)] * 10),
        {"use_dictionary": False, "write_statistics": False, "column_encoding": {"image.bytes": "DELTA_BYTE_ARRAY"}},
        "row group 0 unpacks to more than 536870912 bytes or 10 rows",
    ),
    "20 million rows of nothing": (
        lambda: pyarrow.table({"image": pyarrow.nulls(20_000_000, IMAGE), "label": pyarrow.nulls(20_000_000, "int64")}),
        {"row_group_size": 20_000_000},
        "declares 20000000 rows, but has ",
    ),
}


# Runs a tool, and prints the peak of its memory in kB.
MEASURED = """
import atexit, pathlib, re, runpy, sys
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: print(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unpacks_to_gigabytes_takes_less_than_one(name: str, tmp_path: Path) -> None:
    """The real command, in its own process."""
    make, written, message = BOMBS[name]
    path = write(make(), tmp_path / "in" / NAME, compression="zstd", **written)
    assert path.stat().st_size < 200_000
    options = ["--images", str(path.parent), "--out", str(tmp_path / "out"), "--size", "16"]
    run = subprocess.run([sys.executable, "-c", MEASURED, str(TOOL), *options], capture_output=True, text=True)
    assert run.returncode == 2
    error = next(line for line in run.stderr.splitlines() if line.startswith("error: "))
    assert message in error
    assert "Traceback" not in run.stderr
    assert int(run.stdout) < 1_000_000
