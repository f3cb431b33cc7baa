"""The folder of a run holds the last, the best and the most recent checkpoints, and never loses earlier ones."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from disks import file_limit
from metric_lines import step_metrics

from freelight.shards import FreelightError
from freelight.train import Checkpoint
from freelight.train.metrics import EpochMetrics, RunMetrics
from freelight.train.run_folder import RunFolder


@pytest.fixture
def checkpoint(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def save(folder: RunFolder, checkpoint: Checkpoint, step: int, *, best: bool = False) -> None:
    folder.save(dataclasses.replace(checkpoint, progress={**checkpoint.progress, "step": step}), best=best)


def step_in(path: Path) -> int:
    return int(Checkpoint.load(path).progress["step"])


def test_last_best_and_the_most_recent_are_kept_and_written_once(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, keep=2)
    assert folder.load() is None
    for step in (5, 10, 15, 20):
        save(folder, checkpoint, step, best=step == 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("best.pt", "last.pt", "step-00000015.pt", "step-00000020.pt")
    ]
    assert (step_in(tmp_path / "best.pt"), step_in(tmp_path / "last.pt")) == (10, 20)
    assert (tmp_path / "last.pt").samefile(tmp_path / "step-00000020.pt")


def test_on_a_file_system_without_links_they_are_copies(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    save(RunFolder(tmp_path, keep=1), checkpoint, 5, best=True)
    assert {path.name: step_in(path) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("best.pt", "last.pt", "step-00000005.pt"), 5
    )


@pytest.mark.parametrize("part", [0, 1, 2])
def test_one_flipped_byte_in_the_last_is_found_and_an_older_one_named(
    part: int, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """In the middle of each of the three largest tensors. (Flipped padding between tensors changes nothing.)"""
    folder = RunFolder(tmp_path, keep=2)
    for step in (5, 10):
        save(folder, checkpoint, step)
    last = tmp_path / "last.pt"
    with ZipFile(last) as archive:
        tensor = sorted(archive.infolist(), key=lambda info: -info.file_size)[part]
    content = bytearray(last.read_bytes())
    content[tensor.header_offset + tensor.file_size // 2] ^= 1
    last.write_bytes(content)
    with pytest.raises(FreelightError) as raised:
        folder.load()
    assert str(raised.value) == (
        f"{last} is damaged or not a checkpoint; name another file; "
        f"to resume from an older one: ln -f {tmp_path}/step-00000005.pt {last}"
    )


def test_a_last_that_was_deleted_does_not_begin_the_run_anew_over_the_others(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path, keep=2)
    for step in (5, 10):
        save(folder, checkpoint, step)
    (tmp_path / "last.pt").unlink()
    with pytest.raises(
        FreelightError, match=r"last\.pt is missing; to resume from an older one: ln -f .*step-00000010"
    ):
        folder.load()


def test_what_a_killed_save_left_half_is_cleared_away(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save(RunFolder(tmp_path, keep=1), checkpoint, 5)
    for name in ("step-00000007.pt.12ab34cd.tmp", "last.pt.12ab34cd.tmp"):
        (tmp_path / name).write_bytes(b"half")
    RunFolder(tmp_path, keep=1).drop_after(5, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "step-00000005.pt"]


STEP = json.dumps(step_metrics(step=1).asdict())
EPOCH = json.dumps(EpochMetrics(step=1, epoch=0, val_top1=0.5, val_top5=0.1).asdict())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("step 1}", "Expecting value"),
        ("[1]", r"the content \(=\[1\]\) must be an object"),
        ('{"step": 1, "epoch": 0}', "position is missing"),
        (STEP.replace('"step": 1', '"step": null'), r"step \(=None\) must be an integer"),
        (STEP.replace('"step": 1', '"step": 1.5'), r"step \(=1.5\) must be an integer"),
        (STEP.replace('"loss": 2.0', '"loss": NaN'), r"loss \(=nan\) must be a finite number"),
        (STEP.replace('"images_per_second": 50.0', '"images_per_second": 0'), "images_per_second .* must be a finite"),
        (STEP.replace('"gradient_norm": 1.0', '"gradient_norm": "x"'), "gradient_norm .* must be a number"),
        (STEP.replace('"loss"', '"learning_rate_fc8": "fast", "loss"'), "learning_rate_fc8 .* must be a number"),
        (EPOCH.replace("0.5", "1.5"), r"val_top1 \(=1.5\) must be a finite number in 0..1"),
        (EPOCH.replace("0.1", "null"), "val_top5 .* must be a number"),
        ("\udcff", "can't decode byte"),
        ("[" * 50_000, "nested too deeply|Expecting value"),
    ],
)
def test_a_damaged_line_of_metrics_is_an_error_that_names_it_and_does_not_stop_a_run(
    line: str, reason: str, tmp_path: Path
) -> None:
    folder, path = RunFolder(tmp_path), tmp_path / "metrics.jsonl"
    path.write_text(f"{STEP}\n{line}\n{EPOCH}\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(FreelightError, match=rf"metrics\.jsonl: line 2 is damaged \(.*({reason}).*\); remove the line"):
        folder.metrics()
    left_out = folder.drop_after(1, 1)
    assert left_out is not None
    assert left_out.startswith(f"{path}: line 2 is damaged (")
    assert path.read_text() == f"{STEP}\n{EPOCH}\n"
    assert folder.drop_after(1, 1) is None


def test_norms_may_overflow_and_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write(step_metrics(gradient_norm=math.inf))
    assert folder.metrics().steps[0].gradient_norm == math.inf


def test_a_full_disk_while_saving_leaves_all_that_was_there(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, keep=1)
    save(folder, checkpoint, 5, best=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with file_limit(1_000_000), pytest.raises(OSError, match=rf"File too large: '{tmp_path}/step-00000010\.pt'"):
        save(folder, checkpoint, 10, best=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_line_of_metrics_that_a_full_disk_cut_short_is_forgotten(tmp_path: Path) -> None:
    folder, path = RunFolder(tmp_path), tmp_path / "metrics.jsonl"
    line = EpochMetrics(step=5, epoch=0, val_top1=0.5, val_top5=0.1)
    folder.write(line)
    size = path.stat().st_size
    with file_limit(size + 10), pytest.raises(OSError, match=rf"File too large: '{path}'"):
        folder.write(dataclasses.replace(line, step=10, epoch=1))
    assert path.stat().st_size == size + 10
    assert folder.metrics() == RunMetrics(epochs=(line,))
    folder.drop_after(5, 1)
    assert path.stat().st_size == size


def test_what_a_run_that_goes_on_takes_again_is_forgotten(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, keep=3)
    for step in (5, 10):
        save(folder, checkpoint, step)
        folder.write(EpochMetrics(step=step, epoch=step // 5, val_top1=0.5, val_top5=0.1))
    folder.drop_after(7, 2)
    assert folder.metrics() == RunMetrics(epochs=(EpochMetrics(step=5, epoch=1, val_top1=0.5, val_top5=0.1),))
    assert [path.name for path in tmp_path.glob("step-*.pt")] == ["step-00000005.pt"]


def test_a_run_folder_given_by_a_relative_path_outlives_a_change_of_folder(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    run = RunFolder(Path("run"))
    save(run, checkpoint, 5)
    monkeypatch.chdir("/")
    assert run.load() is not None


def test_nothing_is_written_through_a_link_that_a_run_holds(tmp_path: Path) -> None:
    """A link may lead anywhere, and a run may come from a stranger."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("metrics.jsonl", "lock"):
        (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=rf"symbolic links: '{folder}/metrics.jsonl'"):
        RunFolder(folder).write(EpochMetrics(step=5, epoch=0, val_top1=0.5, val_top5=0.1))
    with pytest.raises(OSError, match=rf"symbolic links: '{folder}/lock'"), RunFolder(folder).locked():
        pass
    assert not (tmp_path / "outside").exists()
