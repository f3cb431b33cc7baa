"""Rejects are limited: a mostly damaged source does not become a small dataset."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from freelight.shards import (
    FreelightError,
    Rescaling,
    ShardSettings,
    Source,
    list_images,
    make_shards,
    summarize_dataset,
    summarize_source,
)
from freelight.shards.writing.plan import lock_output

TINY = ShardSettings(rescaling=Rescaling(size=16), samples_per_shard=16)


@pytest.fixture(scope="module")
def source(pictures: Path) -> Source:
    """83 images of which 3 cannot be decoded."""
    found = list_images(pictures)
    assert isinstance(found, Source)
    return found


@pytest.mark.parametrize("limit", [None, 3, 0.04])
def test_within_the_budget_the_dataset_is_made(limit: float | None, source: Source, tmp_path: Path) -> None:
    assert make_shards(source, tmp_path / "out", TINY, max_rejected=limit).splits["train"].rejected == 3


@pytest.mark.parametrize(("limit", "said"), [(0, "allows 0 of 83;"), (2, "allows 2;"), (0.03, "allows 0.03 of 83;")])
def test_beyond_it_the_job_ends_and_may_be_resumed_with_more(
    limit: float, said: str, source: Source, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # a restart does not forget those found before
        with pytest.raises(FreelightError, match=re.escape(said)) as caught:
            make_shards(source, out, TINY, max_rejected=limit)
        assert "reason" in str(caught.value)
        assert not (out / "dataset.json").exists()
    assert make_shards(source, out, TINY, max_rejected=3).splits["train"].samples == 60


@pytest.mark.parametrize("limit", [-1, 1.5, float("nan")])
def test_a_budget_that_is_none_is_an_error(limit: float, source: Source, tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"`max_rejected` .* must be a count, or a share"):
        make_shards(source, tmp_path / "out", TINY, max_rejected=limit)


def test_two_runs_at_once_on_one_folder_are_refused(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with lock_output(out), pytest.raises(FreelightError, match=rf"another run is writing {out}; wait for it"):
        make_shards(source, out, TINY)
    make_shards(source, out, TINY)


def test_a_full_disk_is_one_error_and_the_job_resumes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_shards(source, tmp_path / "whole", TINY)
    out, real, calls = tmp_path / "out", os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=rf"No space left on device: '{out}/"):
            make_shards(source, out, TINY)
    assert list((out / ".partial").glob("*.record"))
    make_shards(source, out, TINY)
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / "whole", out))
    assert one == other


@pytest.mark.parametrize("damage", ["gone", "short", "no-index"])
def test_a_recorded_shard_that_is_not_there_is_made_again(damage: str, source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_shards(source, tmp_path / "whole", TINY)
    with pytest.raises(FreelightError):
        make_shards(source, out, TINY, max_rejected=0)
    record = min((out / ".partial").glob("*.record"))
    tar = out / f"{record.stem}.tar"
    if damage == "gone":
        tar.unlink()
    elif damage == "short":
        os.truncate(tar, 100)
    else:
        tar.with_suffix(".idx").unlink()
    make_shards(source, out, TINY)
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path / "whole", out))
    assert one == other


def test_an_output_within_the_source_is_refused(pictures: Path, tmp_path: Path) -> None:
    """Otherwise the next listing would find the shards."""
    copy = Path(shutil.copytree(pictures, tmp_path / "copy"))
    with pytest.raises(FreelightError, match=r"`out` .* lies within `images`"):
        make_shards(list_images(copy), copy / "out", TINY)
    with pytest.raises(FreelightError, match=r"`out` .* lies within `images`"):
        list(summarize_source(list_images(copy), TINY, copy / "out"))


def test_without_val_dry_run_and_summary_say_what_it_means_and_how_to_hold_one_out(
    pictures: Path, tmp_path: Path
) -> None:
    """A flat tree of class folders is the commonest set of one's own photographs."""
    source = list_images(pictures / "train")
    said = (
        "no val split: nothing measures errors during training, there is no best.pt, and recipes that lower their "
        "learning rate by the validation error (paper) cannot be trained; give --val-fraction 0.1 to hold out a tenth "
        "of each class"
    )
    assert said in list(summarize_source(source, TINY, tmp_path / "out"))
    assert said in list(summarize_dataset(make_shards(source, tmp_path / "out", TINY), "out"))
    held_out = list_images(pictures / "train", val_fraction=0.5)
    assert said not in list(summarize_source(held_out, TINY))
