"""Pictures that are appended become further shards; what was there stays as it is, and opens as it was."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from making import SMALL, Stop, files, listed, source_of

from freelight.shards import (
    Dataset,
    FreelightError,
    Manifest,
    ShardRecord,
    Source,
    Statistics,
    append_shards,
    compute_statistics,
    make_shards,
    repair_dataset,
    summarize_dataset,
    verify_dataset,
)


@pytest.fixture(scope="module")
def further(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Twelve pictures of three of the classes, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("further") / "further"
    for name in sorted(path.name for path in (pictures / "val").iterdir())[2:8:2]:
        shutil.copytree(pictures / "val" / name, folder / name)
        for path in list((folder / name).iterdir()):
            shutil.copy(path, path.with_name(f"again-{path.name}"))
    (folder / name / "text.JPEG").write_text("no picture")
    return listed(folder)


@pytest.fixture
def grown(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "grown"))


def test_shards_follow_and_what_was_there_stays(further: Source, small: Path, grown: Path) -> None:
    made = append_shards(further, grown, SMALL)
    before, after = Dataset(small), Dataset(grown)
    assert verify_dataset(grown, level="decode") == []
    kept = {name: data for name, data in files(grown).items() if name in files(small)}
    changed = {name for name, data in kept.items() if data != files(small)[name]}
    assert changed == {
        *("dataset.json", "_info.json", "README.md", "rejected.jsonl"),
        *("train.samples.npy", "train.sources.txt"),
    }
    old, new = before.split("train"), after.split("train")
    assert new.sources[: len(old)] == old.sources
    assert sorted(new.sources[len(old) :]) == sorted(
        image.path for image in further.splits["train"] if image.path.rpartition("/")[2] != "text.JPEG"
    )
    assert len({new.key(index) for index in range(len(new))}) == len(new) == len(old) + 12
    ids = [info.id for info in after.manifest.classes]
    assert [ids[label] for label in new.samples["label"][len(old) :]] == [
        path.partition("/")[0] for path in new.sources[len(old) :]
    ]
    assert made.splits["train"].rejected == 4
    assert len((grown / "rejected.jsonl").read_text().splitlines()) == 4
    assert [part.parent for part in made.appended] == [before.fingerprint]
    assert Manifest.load(grown, f"parent-{before.fingerprint[:16]}.json") == before.manifest
    assert any(before.fingerprint[:12] in line and "compute-pca" in line for line in summarize_dataset(made, grown))


def test_the_dataset_opens_as_it_was(further: Source, small: Path, grown: Path) -> None:
    append_shards(further, grown, SMALL)
    append_shards(further, grown, SMALL, split="more")
    whole, before = Dataset(grown), Dataset(small)
    assert list(whole.manifest.splits) == ["train", "val", "more"]
    part = whole.part(before.fingerprint)
    assert part.part(before.fingerprint) is part
    assert (part.is_part, part.manifest, part.fingerprint) == (True, before.manifest, before.fingerprint)
    for name in ("train", "val"):
        one, other = part.split(name), before.split(name)
        assert (one.samples == other.samples).all()
        assert one.sources == other.sources
        assert [one.read(index) for index in range(len(one))] == [other.read(index) for index in range(len(other))]
    second = whole.part(whole.parents[1])
    assert [len(second.split("train")), list(second.manifest.splits)] == [
        len(before.split("train")) + 12,
        ["train", "val"],
    ]
    with pytest.raises(FreelightError, match="never had the fingerprint 0000"):
        whole.part("0" * 64)
    (grown / f"parent-{before.fingerprint[:16]}.json").unlink()
    with pytest.raises(FreelightError, match=r"parent-.* is missing or changed"):
        whole.part(before.fingerprint)


def test_statistics_of_before_are_stale(further: Source, grown: Path) -> None:
    compute_statistics(Dataset(grown)).save(grown)
    append_shards(further, grown, SMALL)
    with pytest.raises(FreelightError, match=r"is for the dataset before pictures were appended \(.*make it again"):
        Statistics.load(grown)


@pytest.mark.parametrize("url", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["folder", "url"])
def test_a_stopped_append_ends_with_the_same_bytes(url: bool, further: Source, small: Path, grown: Path) -> None:
    """Also one that was stopped between the tables and the manifest. No other kind of run forgets it."""
    expected = Path(shutil.copytree(small, grown.parent / "expected"))
    append_shards(further, expected, SMALL)

    def stop(records: Iterable[ShardRecord], total: int | None) -> Iterator[ShardRecord]:
        yield next(iter(records))
        raise Stop

    out = f"file://{grown}" if url else grown
    with pytest.raises(Stop):
        append_shards(further, out, SMALL, watch=stop)
    with pytest.raises(FreelightError, match=r"are being appended to .*; finish that first with `append`"):
        repair_dataset(out)
    with pytest.raises(FreelightError, match=r"are being appended to .*; finish that first with `append`"):
        make_shards(further, out, SMALL)
    for name in ("train.samples.npy", "train.sources.txt", "rejected.jsonl"):
        shutil.copy(expected / name, grown / name)
    append_shards(further, out, SMALL)
    assert files(grown) == files(expected)
    append_shards(further, out, SMALL)
    assert files(grown) == files(expected)


def test_a_grown_dataset_is_repaired_from_the_source_of_each_part(source: Source, further: Source, grown: Path) -> None:
    append_shards(further, grown, SMALL, split="more")
    before = files(grown)
    for name in ("train-000001.tar", "more-000001.tar", "more.samples.npy", "_info.json"):
        (grown / name).unlink()
    given = {"settings": SMALL, "split": "more"}
    with pytest.raises(FreelightError, match=r"train-000001.tar is not repaired: it is not of the source that"):
        repair_dataset(grown, source=further, **given)
    assert (grown / "more-000001.tar").exists()
    _, lines = repair_dataset(grown, source=source, settings=SMALL)
    assert len(lines) == 3
    assert files(grown) == before


def test_what_cannot_be_appended_is_refused(
    source: Source, further: Source, grown: Path, pictures: Path, tmp_path: Path, indexed: Dataset
) -> None:
    before = files(grown)
    with pytest.raises(FreelightError, match=r"made with other settings \(seed: 0 then, 1 now\); append with the same"):
        append_shards(further, grown, replace(SMALL, seed=1))
    with pytest.raises(FreelightError, match=r"are in .* already; append other ones"):
        append_shards(source, grown, SMALL)
    with pytest.raises(FreelightError, match=r"`split` names the pictures of a source that has only train, but .* val"):
        append_shards(source_of(pictures), grown, SMALL, split="more")
    with pytest.raises(FreelightError, match=r"is of version 0\.1, or has tars of other people"):
        append_shards(further, indexed.folder, SMALL)
    assert not (indexed.folder / ".partial").exists()
    with pytest.raises(FreelightError, match="is not a finished dataset"):
        append_shards(further, tmp_path / "nothing", SMALL)
    assert not (tmp_path / "nothing").exists()
    shutil.copytree(next(further.root.iterdir()), tmp_path / "new" / "newclass")
    with pytest.raises(FreelightError, match=r"has the class 'newclass', which the dataset lacks"):
        append_shards(listed(tmp_path / "new"), grown, SMALL)
    assert {name: data for name, data in files(grown).items() if ".partial" not in name} == before
    assert json.loads(before["dataset.json"])["schema"] == 2
