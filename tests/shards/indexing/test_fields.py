"""index_shards keeps numbers of each sample as fields: from a `.json` or an `.npy`, checked, listed and hashed."""

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from foreign_tars import drawn, write_tars
from making import SMALL, files

from freelight.shards import (
    Dataset,
    FreelightError,
    index_shards,
    list_images,
    list_tars,
    make_shards,
    summarize_dataset,
    verify_dataset,
)

FIELDS = (
    "boxes=json:boxes",
    "coco=xywh:json:objects.bbox",
    "area=json:meta.area",
    "embedding=npy",
    "ids=json:objects.id",
)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def boxes_of(number: int) -> npt.NDArray[np.float32]:
    """Return `number` modulo three boxes."""
    return np.array([[at, 2, at + 10.25, 30] for at in range(number % 3)], np.float32).reshape(-1, 4)


def sample(number: int, **changed: Any) -> list[tuple[str, bytes]]:
    """Return the members of a sample. changed: values in its `.json`; or "npy", the member's bytes; None leaves out."""
    boxes = boxes_of(number).astype(float)
    content = {
        "boxes": boxes.tolist(),
        "objects": [{"bbox": [x, y, right - x, bottom - y], "id": int(x)} for x, y, right, bottom in boxes.tolist()],
        "meta": {"area": number if number % 2 else number + 0.5},
    }
    content |= {name: value for name, value in changed.items() if name != "npy"}
    members = {
        "jpg": drawn(number, size=(40, 32)),
        "cls": b"0",
        "json": json.dumps({name: value for name, value in content.items() if value is not None}).encode(),
        "npy": changed.get("npy", npy(np.arange(3, dtype=np.float16) + number)),
    }
    return [(f"k{number}.{kind}", data) for kind, data in members.items() if data is not None]


def index(folder: Path, samples: list[list[tuple[str, bytes]]], *, fields: Any = FIELDS, **settings: Any) -> Dataset:
    """Index the samples, four in a tar."""
    write_tars(folder / "tars", "t", samples, 4)
    shutil.rmtree(folder / "out", ignore_errors=True)
    index_shards(list_tars([f"train={folder}/tars/t-*.tar"], fields=fields), folder / "out", **settings)
    return Dataset(folder / "out")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return index(tmp_path_factory.mktemp("fields"), [sample(number) for number in range(10)])


def test_fields_are_the_numbers_of_each_sample(indexed: Dataset) -> None:
    split = indexed.split("train")
    for number in range(10):
        wanted = {
            "boxes": boxes_of(number),
            "coco": boxes_of(number),
            "area": np.array([number if number % 2 else number + 0.5], np.float64),
            "embedding": np.arange(3, dtype=np.float16) + number,
            "ids": boxes_of(number)[:, 0].astype(np.int64),
        }
        assert split.fields.keys() == wanted.keys()
        for name, array in wanted.items():
            found = split.field(name, number)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(split.field("area", -1), [9])
    with pytest.raises(FreelightError, match="has no field 'masks' of train; its fields: boxes, coco, area"):
        split.field("masks", 0)
    assert "train: fields boxes (9 boxes), coco (9 boxes), area (10 numbers, float64), embedding (30 numb" in "\n".join(
        summarize_dataset(indexed.manifest, "out")
    )


def test_a_stopped_run_ends_with_the_same_bytes_and_other_fields_are_refused(indexed: Dataset, tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop_after_one(records: Any, total: Any) -> Any:
        yield next(iter(records))
        raise Stop

    tars = f"train={indexed.folder.parent}/tars/t-*.tar"
    with pytest.raises(Stop):
        index_shards(list_tars([tars], fields=FIELDS), tmp_path / "out", watch=stop_after_one)
    with pytest.raises(FreelightError, match=r"was started with .* \(fields: \['boxes=json:boxes'.*then, \[\] now\)"):
        index_shards(list_tars([tars]), tmp_path / "out")
    index_shards(list_tars([tars], fields=FIELDS), tmp_path / "out")
    assert files(tmp_path / "out") == files(indexed.folder)
    with pytest.raises(FreelightError, match=r"is a finished dataset of other tars, .*\(fields: "):
        index_shards(list_tars([tars], fields=FIELDS[:1]), tmp_path / "out")


REJECTED = {
    "missing": ({"boxes": None}, "has no json:boxes for the field 'boxes'"),
    "missing in one object": ({"objects": [{"id": 1}]}, "has no json:objects.bbox for the field 'coco'"),
    "no member": ({"npy": None}, "has no .npy for the field 'embedding'"),
    "text": ({"boxes": "1 2 3 4"}, "json:boxes is not a list of numbers"),
    "text inside": ({"boxes": [[1, 2, "3", 4]]}, "json:boxes is not a list of numbers"),
    "flag": ({"meta": {"area": True}}, "json:meta.area is not a list of numbers"),
    "NaN": ({"boxes": [[0, 0, 1, float("nan")]]}, "its .json is not valid JSON (NaN is not a number of JSON)"),
    "ragged": ({"boxes": [[1, 2, 3, 4], [1]]}, "json:boxes has rows of different lengths, or numbers beyond 64 bits"),
    "large": ({"meta": {"area": 2**70}}, "json:meta.area has rows of different lengths, or numbers beyond 64 bits"),
    "columns": (
        {"boxes": [[1, 2, 3, 4, 5]]},
        "json:boxes has the shape (1, 5), but boxes have four numbers in each row",
    ),
    "turned": ({"boxes": [[20, 20, 5, 30]]}, "json:boxes has the box 20, 20, 5, 30, which is not xyxy; is it xywh?"),
    "no numbers": ({"meta": {"area": [[]]}}, "json:meta.area has the shape (1, 0): rows of no numbers, or of too many"),
    "no array": ({"npy": b"hello"}, "its .npy is not an array of numpy.save"),
    "objects": ({"npy": npy(np.array([{}]))}, "its .npy holds '|O', not one of |b1, |u1, |i1, <i2, <i4, <i8, <f2, <f4"),
    "infinite": ({"npy": npy(np.array([np.inf]))}, "its .npy has values that are not finite (NaN or infinity)"),
    "dtype": ({"npy": npy(np.arange(3.0))}, ".npy has numbers of float64, but k0 has numbers of float16"),
    "shape": ({"meta": {"area": [[1, 2]]}}, "json:meta.area has rows of int64 (2,), but k0 has numbers of float64"),
}


def test_samples_whose_fields_cannot_be_used_are_listed_with_the_reason(tmp_path: Path) -> None:
    bad = [sample(number + 1, **changed) for number, (changed, _) in enumerate(REJECTED.values())]
    write_tars(tmp_path / "tars", "t", [sample(0), *bad, sample(99)], 100)
    source = list_tars([f"train={tmp_path}/tars/t-*.tar"], fields=FIELDS)
    index_shards(source, tmp_path / "out", max_rejected=0.99)
    found = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [line["path"] for line in found] == [f"t-0000.tar/k{number + 1}" for number in range(len(REJECTED))]
    for line, (_, reason) in zip(found, REJECTED.values(), strict=True):
        assert line["reason"].startswith(reason)
    split = Dataset(tmp_path / "out").split("train")
    assert [len(split.field("boxes", number)) for number in range(len(split))] == [0, 0]
    assert split.field("area", 1).tolist() == [99.0]


def test_tars_whose_rows_differ_stop_the_run(tmp_path: Path) -> None:
    samples = [sample(number) for number in range(4)] + [
        sample(4, meta={"area": [1, 2]}),
        sample(5, npy=npy(np.ones(3))),
    ]
    assert index(tmp_path, samples, fields=["area=json:meta.area"]).split("train").field("area", 4).tolist() == [1, 2]
    with pytest.raises(
        FreelightError,
        match=r"the field 'embedding' has numbers of float64 in train-000001.tar \(k5\), but numbers of float16 in "
        r"train-000000.tar \(k0\); correct the tars",
    ):
        index(tmp_path, [*samples[:4], samples[5]])


def test_whole_numbers_stay_so_and_all_splits_but_test_need_the_field(tmp_path: Path) -> None:
    (tar,) = write_tars(tmp_path, "t", [sample(1), sample(3)], 2)
    (bare,) = write_tars(tmp_path, "u", [[("a.jpg", drawn(1))], [("b.jpg", drawn(2))]], 2)
    fields = ["area=json:meta.area", "boxes=xyxy:json:boxes"]
    index_shards(list_tars([f"train={tar}", f"test={bare}"], fields=fields), tmp_path / "out")
    train, test = (Dataset(tmp_path / "out").split(name) for name in ("train", "test"))
    assert train.field("area", 1).dtype == np.int64
    assert [test.field(name, 0).shape for name in ("area", "boxes")] == [(0,), (0, 4)]
    assert verify_dataset(tmp_path / "out") == []


@pytest.mark.parametrize(
    "field", ["boxes", "boxes=", "a-b=json:x", "a=json", "a=json:x..y", "a=cls", "a=xyxy:cls", "=npy"]
)
def test_a_field_that_is_not_one_is_named(field: str, foreign_tars: Path) -> None:
    tars = [f"train={foreign_tars}/imagenet1k-train-*.tar"]
    with pytest.raises(FreelightError, match=rf"`fields` \(={field}\) must be <name>=json:<key>, or <name>=npy"):
        list_tars(tars, fields=[field])
    with pytest.raises(FreelightError, match="`fields` name 'a' twice"):
        list_tars(tars, fields=["a=json:x", "a=npy"])


def test_changed_tables_are_named(indexed: Dataset, tmp_path: Path) -> None:
    """Also those whose hash the manifest has: an offset outside the table."""
    out = tmp_path / "out"
    for name, change, message in (
        ("train.boxes.values.npy", lambda table: table + 1, "was changed after it was written"),
        ("train.coco.values.npy", lambda table: table * np.float32("nan"), "has values that are not finite"),
        ("train.ids.values.npy", lambda table: table.astype(np.int32), "holds '<i4', not int64"),
        (
            "train.area.offsets.npy",
            lambda table: table[::-1],
            "the offsets do not rise from 0 to 10, the number of rows",
        ),
    ):
        shutil.copytree(indexed.folder, out, symlinks=True)
        np.save(out / name, change(np.load(out / name)))
        if "changed" not in message:
            manifest = json.loads((out / "dataset.json").read_text())
            manifest["splits"]["train"]["files"][name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
            (out / "dataset.json").write_text(json.dumps(manifest))
        with pytest.raises(FreelightError, match=message):
            Dataset(out).split("train").fields  # noqa: B018
        assert any(f"{out / name}" in problem for problem in verify_dataset(out))
        shutil.rmtree(out)


def test_make_shards_says_that_it_leaves_fields_out(indexed: Dataset, tmp_path: Path) -> None:
    made = make_shards(list_images(indexed.folder), tmp_path / "made", SMALL)
    assert "train: the fields are left out: boxes, coco, area, embedding, ids" in made.source["notes"]
    assert made.splits["train"].fields == {}
