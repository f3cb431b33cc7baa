"""The plans print commands that run unchanged, with their cost, and show only what was measured."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freelight.claims import fall2009, table1, table2
from freelight.claims.plan import errors
from freelight.claims.session import Session
from freelight.cli import main as freelight
from freelight.shards import FreelightError
from freelight.train.cli import main as train

PLANS = {"table1": table1, "table2": table2, "fall2009": fall2009}
Reproduce = Callable[..., Result]


def lines_of(output: str) -> list[str]:
    """Return the commands that a plan prints."""
    return [line for line in output.splitlines() if line.startswith(("freelight ", "train "))]


@pytest.fixture
def archives(ilsvrc2010: Path, ilsvrc2012: Path, mini: Any, tar: Callable[..., bytes], tmp_path: Path) -> Path:
    """The folder for --data: miniatures of ILSVRC-2010, ILSVRC-2012 and Fall 2011, in their real layouts.

    A class of Fall 2011 has 100 pictures, so that 1 % of it for val is at least one.
    """
    data = tmp_path / "data"
    data.mkdir()
    for folder in (ilsvrc2010, ilsvrc2012):
        (data / folder.name).symlink_to(folder)
    picture = mini.val[0][1]
    large = ("n09999999.tar", tar([(f"n09999999_{number}.JPEG", picture) for number in range(100)]))
    for name in ("fall2011", "fall2009"):
        (data / name).mkdir()
        (data / name / "fall11_whole.tar").write_bytes(tar([*mini.class_tars(), large]))
    return data


@pytest.mark.parametrize("name", PLANS)
def test_by_default_a_plan_runs_nothing_and_claims_nothing(
    name: str, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*words: Any, **more: Any) -> int:
        raise AssertionError("a dry run")

    monkeypatch.setattr(Session, "call", never)
    result = reproduce(PLANS[name].command, "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    table = result.stdout.partition("  ours")[2]
    rows = [line for line in table.splitlines() if " / " in line]
    assert rows
    assert all(line.endswith("not run") for line in rows)
    assert result.stdout.splitlines()[-1].startswith("not run: ")
    refused = reproduce(PLANS[name].command, "--data", tmp_path / "none", "--out", tmp_path / "out", "--run")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert re.search(r"there is no .*/none/(ilsvrc2010|ilsvrc2012): put the official archives", refused.stderr)


@pytest.mark.parametrize("name", PLANS)
def test_every_option_that_a_plan_prints_exists(name: str, reproduce: Reproduce, tmp_path: Path) -> None:
    """Each option is in its command's help; `train` also accepts the settings."""
    printed = lines_of(reproduce(PLANS[name].command, "--data", tmp_path, "--out", tmp_path / "out").stdout)
    for line in printed:
        program, *words = shlex.split(line.partition(" > ")[0])
        command = words[0] if program == "freelight" else program
        if command == "train":
            assert "--seed" in words
            described = CliRunner().invoke(train, [*_settings(words), "--describe"])
            assert described.exit_code == 0, described.output
        help_ = CliRunner().invoke(freelight, [command, "--help"]).stdout
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", help_), f"{line}: {option}"


def _settings(words: Sequence[str]) -> list[str]:
    """Return the words of a train command without those that name folders."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return [word for pair in pairs if pair[0] not in ("--shards", "--out", "--init-from") for word in pair]


def test_a_plans_cost_is_images_by_epochs_at_the_speed_given(reproduce: Reproduce, tmp_path: Path) -> None:
    words = ("--data", tmp_path, "--out", tmp_path / "out", "--images-per-second", "1000")
    result = reproduce(table1.command, *words)
    images, views = 90 * 1_261_406, 11 * 150_000
    hours = (images + views / 3) / 1000 / 3600
    assert (
        f"{images:,} images trained on, {views:,} views evaluated, {hours:,.0f} hours, {2 * hours:,.0f} GPU-hours"
        in (result.stdout)
    )
    assert f"# {images:,} images, {images / 3.6e6:.1f} hours, {images / 1.8e6:.1f} GPU-hours" in result.stdout


def test_a_table_shows_what_was_measured_and_by_how_much_it_differs(reproduce: Reproduce, tmp_path: Path) -> None:
    (tmp_path / "cnn2010-ten-views.json").write_text(
        '{"average": null, "networks": [{"name": "last.pt", "top1": 0.38, "top5": 0.175}]}'
    )
    result = reproduce(table1.command, "--data", tmp_path, "--out", tmp_path)
    assert re.search(r"ten views +37.5 / 17.0 +38.0 / 17.5  \+0.5 / \+0.5$", result.stdout, re.MULTILINE)
    assert result.stdout.splitlines()[-1] == "not run: CNN, 2010 test, centre view"


def test_errors_are_those_of_the_average_where_there_is_one(tmp_path: Path) -> None:
    """An empty file counts as missing: the shell creates it before `evaluate` has finished."""
    path = tmp_path / "errors.json"
    assert errors(path) is None
    path.write_text("")
    assert errors(path) is None
    networks = [{"top1": 0.40, "top5": 0.18}]
    path.write_text(json.dumps({"networks": networks, "average": None}))
    assert errors(path) == pytest.approx((40, 18))
    path.write_text(json.dumps({"networks": networks, "average": {"top1": 0.381, "top5": 0.164}}))
    assert errors(path) == pytest.approx((38.1, 16.4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("top-1 error 40.00%, top-5 error 18.00%", "is not valid JSON"),
        (b"\xb9", "is not valid JSON"),
        ('{"networks": []}', "lacks the errors"),
        ('{"average": {"top1": "0.4", "top5": 0.1}}', r"top1 \(='0.4'\) must be a number"),
        ('{"average": {"top1": 0.4, "top5": 7}}', r"top5 \(=7\) must be a finite number in 0..1"),
    ],
)
def test_figures_that_evaluate_did_not_write_are_refused(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "errors.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FreelightError, match=rf"errors\.json, which evaluate --json writes,.*{message}.*; delete it"):
        errors(path)


def test_run_does_the_printed_lines_in_order_once(
    archives: Path, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(Session, "call", lambda session, words, log: called.append(words[-1]) or 0)
    monkeypatch.setattr("freelight.claims.session.fingerprint", lambda dataset: f"of {dataset}")
    words = ("--data", archives, "--out", tmp_path / "out")
    printed = lines_of(reproduce(table1.command, *words).stdout)
    assert reproduce(table1.command, *words, "--run").exit_code == 0
    assert [line.removeprefix("exec ") for line in called] == printed
    assert reproduce(table1.command, *words, "--run").exit_code == 0
    assert len(called) == len(printed), "what is done is not done again"
    parts = json.loads((tmp_path / "out" / "table1.json").read_text())["parts"]
    assert {part["dataset_fingerprint"] for part in parts} == {f"of {tmp_path / 'out' / 'ilsvrc2010'}"}
    assert [part["seed"] for part in parts] == [None, None, 0, None, None]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_every_line_runs_on_miniatures_of_the_real_layouts_and_fills_the_table(
    name: str, archives: Path, tmp_path: Path
) -> None:
    """In any folder, unchanged except for one epoch, a small width and no compilation in training."""
    out = tmp_path / "out"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def typed(line: str) -> str:
        ran = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        return ran.stdout

    plan = f"freelight reproduce {name} --data {archives} --out {out}"
    for line in lines_of(typed(plan)):
        typed(f"{line} --set epochs=1 --width 0.03 --no-compile" if line.startswith("train ") else line)
    table = typed(plan).partition("  ours")[2]
    rows = [line for line in table.splitlines() if " / " in line]
    assert len(rows) == len(import_module(f"freelight.claims.{name}").planner(archives, out).table)
    assert all(re.search(r" \d+\.\d / \d+\.\d  [+-]\d+\.\d / [+-]\d+\.\d$", row) for row in rows), table
    assert "not run" not in table
