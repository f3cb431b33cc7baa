"""Bad pictures, names of any bytes, and settings out of range."""

import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import SMALL, Stop, listed
from PIL import Image

from freelight.demo.drawing import draw_picture
from freelight.shards import Dataset, FreelightError, ShardRecord, ShardSettings, Source, make_shards, rescale_file


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Five pictures of two classes."""
    for index in range(5):
        path = tmp_path / "few" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(index, np.random.default_rng(index), (40, 50)).save(path)
    return tmp_path / "few"


def test_a_shard_of_only_bad_pictures_is_dropped_and_the_rest_reads_on(few: Path, tmp_path: Path) -> None:
    (few / "a" / "bad.png").write_text("not a picture")
    out = tmp_path / "out"
    make_shards(listed(few), out, replace(SMALL, samples_per_shard=1))
    made = Dataset(out)
    split = made.split("train")
    names = [shard.name for shard in made.manifest.splits["train"].shards]
    assert len(split) == len(names) == 5
    assert set(names) < {f"train-{k:06d}.tar" for k in range(6)}
    assert sorted(path.name for path in out.glob("*.tar")) == names
    assert sorted(path.stem for path in out.glob("*.idx")) == [name[:-4] for name in names]
    assert json.loads((out / "rejected.jsonl").read_text())["path"] == "a/bad.png"
    for index, path in enumerate(split.sources):
        assert split.read(index) == rescale_file((few / path).read_bytes(), SMALL.rescaling)
        assert f"train-00{split.key(index)[-4:]}.tar" == names[int(split.samples["shard"][index])]


def test_a_split_of_only_bad_pictures_is_an_error_with_the_last_reason(tmp_path: Path) -> None:
    path = tmp_path / "images" / "a" / "bad.png"
    path.parent.mkdir(parents=True)
    path.write_text("not a picture")
    with pytest.raises(FreelightError, match=r"no image of the split 'train' can be decoded; the last .*: .*bad\.png"):
        make_shards(listed(tmp_path / "images"), tmp_path / "out", SMALL)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_file_names_of_any_bytes_come_through(few: Path, tmp_path: Path) -> None:
    """All bytes except a line break: also other characters at which Python splits lines, and bytes that are not
    UTF-8."""
    odd = [os.fsencode(name) for name in ("a\rb.png", "a\u2028b.png", "a\x85\x0bb.png")] + [b"\xff\xfe.png"]
    pictures = sorted(few.rglob("*.png"))
    for name, path in zip(odd, pictures, strict=False):
        os.rename(path, os.path.join(os.fsencode(path.parent), name))
    (few / "a" / os.fsdecode(b"\xfebad.png")).write_text("not a picture")
    source = listed(few)
    make_shards(source, tmp_path / "out", SMALL)
    split = Dataset(tmp_path / "out").split("train")
    assert sorted(split.sources) == sorted(image.path for image in source.splits["train"] if "bad" not in image.path)
    assert len(split) == 5
    reject = json.loads((tmp_path / "out" / "rejected.jsonl").read_text())
    assert os.fsencode(reject["path"]) == b"a/\xfebad.png"


def test_samples_per_shard_is_a_32nd_of_the_largest_split_within_100_and_2000(few: Path) -> None:
    source = listed(few)
    image = source.splits["train"][0]
    for count, limit, expected in [(5, None, 100), (6400, None, 200), (6401, None, 201), (10**6, None, 2000)]:
        large = replace(source, splits={"train": [image] * count, "val": [image]})
        assert ShardSettings(limit=limit).resolve(large).samples_per_shard == expected
    large = replace(source, splits={"train": [image] * 10**6})
    assert ShardSettings(limit=6400).resolve(large).samples_per_shard == 200
    assert ShardSettings(samples_per_shard=7).resolve(large).samples_per_shard == 7


def test_tasks_do_not_carry_the_listing_to_their_processes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For ImageNet it would be 100 MB and 8 seconds of pickling per task."""
    seen: list[Source] = []

    def run(function: object, tasks: Iterable[object], **options: object) -> Iterator[ShardRecord]:
        seen.append(function.args[0])  # type: ignore[attr-defined]
        raise Stop
        yield

    monkeypatch.setattr("freelight.shards.writing.making.run_tasks", run)
    with pytest.raises(Stop):
        make_shards(source, tmp_path / "out", SMALL)
    assert sum(len(images) for images in seen[0].splits.values()) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples_per_shard": 0}, r"`samples_per_shard` \(=0\) must be at least 1"),
        ({"limit": 0}, r"`limit` \(=0\) must be at least 1"),
        ({"seed": -1}, r"`seed` \(=-1\) must be at least 0"),
    ],
)
def test_settings_out_of_range_are_named(fields: dict[str, int], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        ShardSettings(**fields)  # type: ignore[arg-type]


def test_every_stored_jpeg_decodes_to_the_manifests_size(small: Path) -> None:
    made = Dataset(small)
    split = made.split("train")
    assert {Image.open(io.BytesIO(split.read(index))).size for index in range(len(split))} == {(32, 32)}
    assert made.image_size == 32
