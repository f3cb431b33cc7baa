"""What a stopped job left is checked before it is used: one error names the file and the field, and nothing is lost."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from making import SMALL, Stop, files
from miniatures import draw_mini, tar_of

from freelight.shards import FreelightError, ShardRecord, Source, list_images, make_shards


@pytest.fixture
def stopped(source: Source, tmp_path: Path) -> Path:
    """A dataset whose first two shards are finished."""

    def watch(records: Iterable[ShardRecord], total: int) -> Iterator[ShardRecord]:
        for done, record in enumerate(records):
            if done == 1:
                raise Stop
            yield record

    out = tmp_path / "out"
    with pytest.raises(Stop):
        make_shards(source, out, SMALL, watch=watch)
    return out


def edit(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return a function that edits the content of a JSON file."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content) or content))

    return damage


RECORDS = {
    "no JSON": (lambda path: path.write_bytes(path.read_bytes()[:300]), "is not valid JSON"),
    "nested lists": (lambda path: path.write_text("[" * 10**5), "is not valid JSON"),
    "another type": (edit(lambda record: [1]), r"the content \(=\[1\]\) must be an object"),
    "a missing field": (edit(lambda record: record.pop("sha256") and None), "sha256 is missing"),
    "a short row": (
        edit(lambda record: record["samples"][3].clear()),
        r"samples\[3\] .* must be a list of 6 to 10 items",
    ),
    "a huge label": (edit(lambda record: record["samples"][0].__setitem__(2, 2**40)), "is not the record of"),
    "a split that is a path": (edit(lambda record: record.update(split="../../x")), "split .* must be a name"),
    "another shard's name": (edit(lambda record: record.update(shard=7)), "is not the record of train-000000.tar"),
    "an offset out of the shard": (edit(lambda record: record["samples"][2].__setitem__(0, 2**40)), "ends after the"),
    "another picture": (edit(lambda record: record["samples"][1].__setitem__(5, "x.JPEG")), "is not the record of"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_of_a_shard_is_refused(name: str, source: Source, small: Path, stopped: Path) -> None:
    damage, message = RECORDS[name]
    path = stopped / ".partial" / "train-000000.record"
    damage(path)
    with pytest.raises(FreelightError, match=rf"train-000000.record.*{message}.*; delete it, and its shard is written"):
        make_shards(source, stopped, SMALL)
    path.unlink()
    make_shards(source, stopped, SMALL)
    assert files(stopped) == files(small)


@pytest.mark.parametrize("content", [b"null", b'{"seed": ', b"\xff", b"[" * 10**5])
def test_a_damaged_plan_is_refused(content: bytes, source: Source, stopped: Path) -> None:
    path = stopped / ".partial" / "plan.json"
    path.write_bytes(content)
    with pytest.raises(FreelightError, match=r"plan.json.*; delete .*out and start again"):
        make_shards(source, stopped, SMALL)


SEGMENTS = {
    "no JSON": (lambda path: path.write_bytes(path.read_bytes()[:100]), "is not valid JSON"),
    "a class that is a list": (edit(lambda rows: rows[0].__setitem__(1, [])), r"\[0\]\[1\] \(=\[\]\) must be a string"),
    "an offset out of the file": (edit(lambda rows: rows[2].__setitem__(2, 10**9)), "ends after the"),
    "a missing length": (edit(lambda rows: rows[1].__delitem__(slice(3, None))), "must be a list of 4 to 6 items"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_damaged_index_of_a_segment_is_refused(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(draw_mini().class_tars())))

    def stop(records: object, total: object) -> list[ShardRecord]:
        raise Stop

    with pytest.raises(Stop):
        make_shards(list_images(archive), tmp_path / "out", SMALL, watch=stop)
    damage, message = SEGMENTS[name]
    damage(tmp_path / "out" / ".partial" / "staged" / "000000-000001.json")
    with pytest.raises(FreelightError, match=rf"000000-000001.json.*{message}.*; delete .*"):
        make_shards(list_images(archive), tmp_path / "out", SMALL)
