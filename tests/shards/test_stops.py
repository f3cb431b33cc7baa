"""A stopped job ends with the same bytes; another source or setting is refused."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from making import SMALL, Stop, files, identities, source_of

import freelight
from freelight.shards import Dataset, FreelightError, Rescaling, ShardRecord, ShardSettings, Source, make_shards
from freelight.shards.writing.settings import NOT_IN_0_1, SAME_BYTES


def stop_after(count: int, records: Iterable[ShardRecord]) -> Iterator[ShardRecord]:
    for done, record in enumerate(records):
        if done == count:
            raise Stop
        yield record


def begin(source: Source, out: Path, shards: int, settings: ShardSettings = SMALL) -> None:
    """Make a dataset, but stop when `shards` shards are recorded and one more is written."""
    with pytest.raises(Stop):
        make_shards(source, out, settings, watch=lambda records, total: stop_after(shards, records))


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_a_stopped_job_resumes_to_the_same_bytes_and_keeps_its_finished_shards(
    shards: int, source: Source, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    begin(source, out, shards)
    recorded = sorted(path.stem for path in (out / ".partial").glob("*.record"))
    assert len(recorded) == shards + 1
    assert not (out / "dataset.json").exists()
    with pytest.raises(FreelightError, match="is not a finished dataset"):
        Dataset(out)
    # What a kill may also leave: half a file under its temporary name, and a shard without a record.
    (out / "train-000006.tar.tmp").write_bytes(b"half")
    (out / f"{recorded[-1]}.idx.tmp").write_bytes(b"half")
    (out / ".partial" / "train-000006.record.tmp").write_bytes(b"half")
    (out / ".partial" / f"{recorded[0]}.record").unlink()
    (out / f"{recorded[0]}.tar").write_bytes(b"rot")
    before = identities(out)
    make_shards(source, out, SMALL)
    assert files(out) == files(small)
    after = identities(out)
    for name in recorded[1:]:
        assert after[f"{name}.tar"] == before[f"{name}.tar"], "a finished shard was made again"


def test_every_image_is_watched_once_also_when_resuming(source: Source, tmp_path: Path) -> None:
    """The progress bar must end at its length."""
    begin(source, tmp_path / "out", 3)
    counts: list[int] = []

    def watch(records: Iterable[ShardRecord], total: int) -> Iterator[ShardRecord]:
        counts.append(total)
        for record in records:
            counts[0] -= len(record.samples) + len(record.rejected)
            yield record

    make_shards(source, tmp_path / "out", SMALL, watch=watch)
    assert counts == [0]


def test_a_stop_after_the_manifest_is_tidied_up_by_the_next_run(source: Source, small: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / ".partial").mkdir()
    (out / ".partial" / "train-000003.record").write_text("{}")
    make_shards(source, out, SMALL)
    assert files(out) == files(small)
    assert not (out / ".partial").exists()


def test_running_again_on_a_finished_dataset_changes_nothing(source: Source, small: Path) -> None:
    before = identities(small)
    again = make_shards(source, small, SMALL, watch=lambda records, total: pytest.fail("there is nothing to do"))
    assert again == Dataset(small).manifest
    assert identities(small) == before


@pytest.mark.parametrize("url", [False, True], ids=["folder", "url"])
def test_a_finished_dataset_that_lacks_a_file_or_has_a_cut_shard_is_said(
    url: bool, source: Source, small: Path, tmp_path: Path
) -> None:
    """By names and sizes alone, so that it takes a moment."""
    out = Path(shutil.copytree(small, tmp_path / "out"))
    (out / "train-000002.tar").unlink()
    os.truncate(out / "val-000000.tar", 1000)
    with pytest.raises(
        FreelightError, match=r"out: train-000002\.tar is missing, and 1 other file is .*; mend that with `repair`"
    ):
        make_shards(source, f"file://{out}" if url else out, SMALL)
    (out / "train-000002.tar").write_bytes((small / "train-000002.tar").read_bytes())
    with pytest.raises(FreelightError, match=r"out: val-000000\.tar has 1000 bytes, not \d+; mend that with"):
        make_shards(source, f"file://{out}" if url else out, SMALL)


OTHER = {
    "seed": replace(SMALL, seed=1),
    "limit": replace(SMALL, limit=50),
    "samples_per_shard": replace(SMALL, samples_per_shard=9),
    "size": replace(SMALL, rescaling=Rescaling(size=33)),
    "quality": replace(SMALL, rescaling=Rescaling(size=32, quality=90)),
    "reject_suspect": replace(SMALL, reject_suspect=True),
    "max_pixels": replace(SMALL, rescaling=Rescaling(size=32, max_pixels=10**6)),
}


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
@pytest.mark.parametrize("setting", OTHER)
def test_other_settings_on_the_same_folder_are_an_error_naming_them(
    setting: str, finished: bool, source: Source, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if finished:
        shutil.copytree(small, out)
    else:
        begin(source, out, 0)
    before = identities(out)
    with pytest.raises(FreelightError, match=rf"{out} .*other settings.*\({setting}: .* then, .* now\).*`out`"):
        make_shards(source, out, OTHER[setting])
    assert identities(out) == before


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
def test_what_0_1_did_not_record_does_not_stop_its_datasets(
    finished: bool, source: Source, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if finished:
        shutil.copytree(small, out)
        manifest = Dataset(out).manifest
        for name in NOT_IN_0_1:
            del manifest.made_with[name]
        manifest.save(out)
    else:
        begin(source, out, 1)
        plan = json.loads((out / ".partial" / "plan.json").read_text())
        (out / ".partial" / "plan.json").write_text(json.dumps({k: v for k, v in plan.items() if k not in NOT_IN_0_1}))
    with pytest.raises(FreelightError, match=r"max_pixels: 64000000 then, 1000000 now"):
        make_shards(source, out, OTHER["max_pixels"])
    make_shards(source, out, SMALL)


EARLIER = replace(SMALL, freelight=SAME_BYTES[-1])
LATER = replace(SMALL, freelight="99.1")


def test_what_a_version_with_the_same_bytes_began_is_finished_and_keeps_its_name(
    source: Source, small: Path, tmp_path: Path
) -> None:
    """All files are those that it would have made itself, so a check by its hashes finds them right."""
    make_shards(source, tmp_path / "whole", EARLIER)
    begin(source, tmp_path / "out", 1, EARLIER)
    manifest = make_shards(source, tmp_path / "out", SMALL)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert manifest.made_with["freelight"] == SAME_BYTES[-1] != freelight.__version__
    before = identities(tmp_path / "out")
    assert make_shards(source, tmp_path / "out", SMALL) == manifest
    assert identities(tmp_path / "out") == before
    tars = {name: data for name, data in files(small).items() if name.endswith((".tar", ".idx", ".npy", ".txt"))}
    assert files(tmp_path / "out").items() >= tars.items()


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "begun"])
def test_what_a_version_with_other_bytes_began_is_refused_in_a_line(
    finished: bool, source: Source, tmp_path: Path
) -> None:
    if finished:
        make_shards(source, tmp_path, LATER)
    else:
        begin(source, tmp_path, 1, LATER)
    before = identities(tmp_path)
    words = rf"freelight: '99.1' then, '{re.escape(freelight.__version__)}' now, which may give other bytes"
    with pytest.raises(FreelightError, match=words):
        make_shards(source, tmp_path, SMALL)
    assert identities(tmp_path) == before


def rename_picture(pictures: Path) -> None:
    path = next((pictures / "val").rglob("*.JPEG"))
    path.rename(path.with_name("renamed.JPEG"))


def add_picture(pictures: Path) -> None:
    path = next((pictures / "val").rglob("*.JPEG"))
    shutil.copy2(path, path.with_name("added.JPEG"))


def rename_class(pictures: Path) -> None:
    names = pictures / "class-names.tsv"
    names.write_text(names.read_text().replace("ring", "hoop"))


def touch_picture(pictures: Path) -> None:
    os.utime(next((pictures / "val").rglob("*.JPEG")), ns=(0, 0))


@pytest.mark.parametrize(
    ("change", "finished", "message"),
    [
        (rename_picture, True, "pictures of other paths or sizes"),
        (rename_picture, False, "pictures of other paths or sizes"),
        (add_picture, True, "'val': 20} then, .*'val': 21} now"),
        (add_picture, False, "'val': 20} then, .*'val': 21} now"),
        (rename_class, True, "other classes"),
        (rename_class, False, "other classes"),
        (touch_picture, False, "pictures written at other times"),
    ],
)
def test_a_changed_source_on_the_same_folder_is_an_error(
    change: object, finished: bool, message: str, pictures: Path, small: Path, tmp_path: Path
) -> None:
    """A finished dataset ignores file times, because a copy of the source may have other times."""
    copy = Path(shutil.copytree(pictures, tmp_path / pictures.name))
    out = tmp_path / "out"
    if finished:
        shutil.copytree(small, out)
    else:
        begin(source_of(copy), out, 0)
    before = identities(out)
    change(copy)  # type: ignore[operator]
    with pytest.raises(FreelightError, match=f"another source.*{message}"):
        make_shards(source_of(copy), out, SMALL)
    assert identities(out) == before


def test_a_folder_of_someone_elses_is_refused_and_left_alone(source: Source, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not lose me")
    with pytest.raises(FreelightError, match=f"`out` {tmp_path} is not empty and was not started by make_shards"):
        make_shards(source, tmp_path, SMALL)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_source_that_changes_while_it_is_read_stops_the_job(pictures: Path, tmp_path: Path) -> None:
    """It must not count as a bad picture, because then the same listing would give different bytes."""
    copy = Path(shutil.copytree(pictures, tmp_path / pictures.name))
    source = source_of(copy)
    next((copy / "train").rglob("*_1.JPEG")).write_bytes(b"cut")
    with pytest.raises(FreelightError, match="changed since it was listed"):
        make_shards(source, tmp_path / "out", SMALL)
