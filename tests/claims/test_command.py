"""The executable lists its claims with their options; a claim gives a table, a record and a picture."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from freelight.claims import ablation
from freelight.claims.command import claim
from freelight.claims.finding import Finding, Row
from freelight.claims.session import Session, UnfinishedError
from freelight.commands.reproduce import command as main

TOOL = Path(ablation.__file__).parents[2] / "reproduce"
CLAIMS = ("figure1", "lrn-cifar", "ablation", "free", "reuse", "table1", "table2", "fall2009")
Reproduce = Callable[..., Result]


def test_the_executable_lists_its_claims_and_refuses_others(reproduce: Reproduce) -> None:
    assert os.access(TOOL, os.X_OK), f"chmod +x {TOOL}"
    assert len(TOOL.read_text().splitlines()) <= 66, "one screen"
    listed = reproduce(main, "--help").stdout
    assert re.findall(r"^  (\w[\w-]*)  ", listed, re.MULTILINE) == list(CLAIMS)
    for name in CLAIMS:
        help_ = reproduce(main, name, "--help").stdout
        assert all(option in help_ for option in ("--data", "--out", "--budget")), name
    assert reproduce(main, "figure2").exit_code == 2


def test_a_claim_prints_its_finding_and_writes_a_record_and_a_picture(reproduce: Reproduce, tmp_path: Path) -> None:
    @claim("speed")
    def command(session: Session, data: Path) -> Finding:
        """How fast."""
        session.part("one", ["train"], lambda: {"seed": 1}, data)
        return Finding(
            claim="speed",
            rows=(Row(what="days", paper="6", ours="5", difference="-1"),),
            conditions=("two GPUs",),
            figures={"days": 5},
            picture=Image.new("RGB", (3, 2)),
            verdict="faster",
        )

    result = reproduce(command, "--data", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        *("speed", "two GPUs", ""),
        *("      paper  ours  difference", "days      6     5  -1", "", "faster"),
    ]
    record = json.loads((tmp_path / "out" / "speed.json").read_text())
    assert record["figures"] == {"days": 5}
    assert [(part["part"], part["command"], part["seed"]) for part in record["parts"]] == [("one", "train", 1)]
    assert record["machine"]["revision"] == record["parts"][0]["machine"]["revision"]
    with Image.open(tmp_path / "out" / "speed.png") as picture:
        assert picture.size == (3, 2)
    words = ("--data", tmp_path, "--out", tmp_path / "out")
    assert (
        json.loads(reproduce(command, *words, "--json").stdout).items()
        >= {"claim": "speed", "verdict": "faster"}.items()
    )
    assert reproduce(command, *words, "--quiet").output == ""


def test_an_unfinished_claim_exits_1_and_claims_nothing(
    reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @claim("speed")
    def command(session: Session, data: Path) -> Finding:
        """How fast."""
        session.plan(["one", "two"])
        session.part("one", ["train"], dict, data)
        raise UnfinishedError

    result = reproduce(command, "--data", tmp_path, "--out", tmp_path / "out", "--budget", "3")
    assert result.exit_code == 1
    assert "1 of 2 parts are done, 1 did not fit: two; run the same command again to continue" in result.stdout
    assert [path.name for path in (tmp_path / "out").iterdir() if path.suffix in (".json", ".png")] == []
    as_json = reproduce(command, "--data", tmp_path, "--out", tmp_path / "out", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == {
        "claim": "speed",
        "unfinished": True,
        "planned": ["one", "two"],
        "done": ["one"],
    }


def test_folders_are_meant_from_where_the_command_is_typed(
    reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes of a claim run in the root of the checkout."""
    found = []

    @claim("speed")
    def command(session: Session, data: Path) -> Finding:
        """How fast."""
        found.extend([data, session.out])
        raise UnfinishedError

    monkeypatch.chdir(tmp_path)
    reproduce(command, "--data", "images", "--out", "out")
    assert found == [tmp_path / "images", tmp_path / "out"]
