"""What a claim measures on: splits that stand for val, data that cannot serve, the benchmark that `free` quotes."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from freelight.claims import figure1, free, lrn_cifar
from freelight.claims.session import Session
from freelight.shards import Dataset

Reproduce = Callable[..., Result]


def test_test_stands_for_val_where_there_is_no_other_and_its_links_are_of_one_folder(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of one folder are not shown for another."""
    monkeypatch.setattr(Session, "must_call", lambda session, words, log: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset").symlink_to(small)
    for name in ("a", "b"):
        for split in ("train", "test"):
            (tmp_path / name / split).mkdir(parents=True)
    words = ("--out", tmp_path / "out", "--epochs", "1")
    result = reproduce(lrn_cifar.command, "--data", tmp_path / "a", *words)
    assert re.search(r"^11pct, test error +11 % ", result.stdout, re.MULTILINE), result.output
    result = reproduce(lrn_cifar.command, "--data", tmp_path / "b", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"--data .*/b: .*/images/train links to .*/a/train; give another --out", result.stderr)


def test_data_that_cannot_serve_is_named(dataset: Dataset, reproduce: Reproduce, tmp_path: Path) -> None:
    result = reproduce(figure1.command, "--data", dataset.folder, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has images of 256 pixels; this claim needs 32" in result.stderr
    assert "does not exist" in reproduce(free.command, "--data", "none", "--out", tmp_path).stderr


def test_free_quotes_the_benchmark() -> None:
    lap = {"items": 10, "seconds": 2.0}
    report = {
        "settings": {"batch": 10},
        "machine": {"cpu": "a CPU", "cores": 2, "load_average": 0.1},
        "floors": [{"name": "time, lit / plain", "value": 1.2, "met": False}],
        "figures": [{"name": "wait", "value": 21.0}],
        "contenders": [{"name": "lit", "laps": [lap, lap]}],
    }
    table = free.finding(report, "data: some").table()
    assert re.search(r'^time, lit / plain +1 \("free"\) +1\.200  \+20\.0 %$', table, re.MULTILINE)
    assert table.splitlines()[-1] == "not free here: time, lit / plain above 1.03"


def test_a_benchmark_that_broke_down_is_not_a_missed_floor(
    dataset: Dataset, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both exit with code 1; an older record is not quoted."""

    def call(session: Session, words: Sequence[str], log: Path) -> int:
        log.write_text("Traceback\nMemoryError\n")
        return 1

    monkeypatch.setattr(Session, "call", call)
    (tmp_path / "benchmark-free.json").write_text("{}")
    result = reproduce(free.command, "--data", dataset.folder, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"benchmark free .*: exit code 1: MemoryError \(log: .*benchmark\.log", result.stderr)
