"""Contenders run in turn and are compared within rounds; missed floors and absent peers are reported."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from benching import call, script

from freelight.benchmarks import shards
from freelight.benchmarks.command import benchmark
from freelight.benchmarks.machine import CHECKOUT, DALI_WHEEL, OtherWork, machine_facts
from freelight.benchmarks.process import process_contender
from freelight.benchmarks.report import Figure, Floor, Report
from freelight.benchmarks.timing import Contender, Lap, Timings, interleave, one_core, timed
from freelight.benchmarks.typed import as_typed
from freelight.shards import FreelightError


def finished(rates: dict[str, Sequence[float]], absent: dict[str, str] | None = None) -> Timings:
    """Return timings of one second per lap with the given rates."""
    absent = absent or {}
    contenders = [Contender(name=name, lap=lambda: Lap(1, 1.0)) for name in rates]
    contenders += [Contender(name=name, absent=reason) for name, reason in absent.items()]
    laps = {name: tuple(Lap(round(rate), 1.0) for rate in found) for name, found in rates.items()}
    return Timings(contenders=tuple(contenders), laps={**laps, **dict.fromkeys(absent, ())})


def test_contenders_run_in_turn_and_the_warm_up_does_not_count() -> None:
    order = []

    def contender(name: str) -> Contender:
        def lap() -> Lap:
            order.append(name)
            return Lap(len(order), 1.0)

        return Contender(name=name, lap=lap)

    contenders = (contender("A"), contender("B"), Contender(name="C", absent="not made"))
    timings = interleave(contenders, rounds=3, watch=lambda laps, total: list(laps))
    assert "".join(order) == "AB" + 3 * "AB"
    assert [lap.items for lap in timings.laps["A"]] == [3, 5, 7]
    assert [lap.items for lap in timings.laps["B"]] == [4, 6, 8]
    assert timings.laps["C"] == ()


def test_ratios_are_medians_of_pairs_within_a_round() -> None:
    """The machine is four times slower in round 2: both rates fall, their ratio stays. Separate medians would
    differ."""
    timings = finished({"ours": [200, 50, 190], "theirs": [100, 25, 100]})
    assert timings.rate("ours") == 190
    assert timings.rate("theirs") == 100
    assert timings.ratio("ours", "theirs") == 2.0
    assert timings.ratio("theirs", "ours") == 0.5


def test_an_absent_contender_has_no_rate_and_a_reason() -> None:
    timings = finished({"ours": [10]}, {"theirs": "not made"})
    assert (timings.rate("theirs"), timings.ratio("ours", "theirs")) == (None, None)
    assert timings.why_absent("ours", "theirs") == "theirs is absent (not made)"
    assert timings.why_absent("ours") is None


def test_a_contender_that_does_nothing_is_an_error_not_a_rate() -> None:
    with pytest.raises(FreelightError, match="idle finished no item"):
        interleave([Contender(name="idle", lap=lambda: Lap(0, 1.0))], rounds=1, watch=lambda laps, total: list(laps))


def test_timed_counts_items_and_seconds() -> None:
    lap = timed(lambda: 7)
    assert lap.items == 7
    assert 0 < lap.seconds < 5


def test_one_core_means_one_core_and_ends() -> None:
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
        child = subprocess.run(
            [sys.executable, "-Sc", "import os; print(len(os.sched_getaffinity(0)))"], capture_output=True, check=True
        )
    assert child.stdout == b"1\n"
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("value", "bounds", "met"),
    [
        (1.3, {"at_least": 1.3}, True),
        (1.299, {"at_least": 1.3}, False),
        (300.0, {"at_most": 300.0}, True),
        (300.1, {"at_most": 300.0}, False),
        (None, {"at_least": 1.3}, None),
    ],
)
def test_a_floor_is_met_at_its_bound(value: float | None, bounds: dict[str, float], met: bool | None) -> None:
    because = None if value is not None else "absent"
    assert Floor(name="speed", value=value, because=because, **bounds).met is met


def test_a_floor_needs_one_bound_and_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="'speed' must have either `at_least` or `at_most`"):
        Floor(name="speed", value=1.0)
    with pytest.raises(ValueError, match="'speed' must have either `at_least` or `at_most`"):
        Floor(name="speed", value=1.0, at_least=1, at_most=2)
    with pytest.raises(ValueError, match="'speed' has no value, and no reason why"):
        Floor(name="speed", value=None, at_least=1)


def toy(*floors: Floor, absent: dict[str, str] | None = None) -> click.Command:
    """Return a benchmark that has measured these floors."""

    @benchmark("toy")
    def command(rounds: int) -> Report:
        """Measure nothing."""
        return Report(
            benchmark="toy",
            item="images",
            settings={"rounds asked": rounds},
            machine=machine_facts(("numpy",)),
            timings=finished({"ours": [200, 210, 190], "theirs": [100, 100, 100]}, absent),
            floors=floors,
            figures=(Figure(name="ours / theirs", value=2.0),),
            notes=("drawn pictures",),
        )

    return command


MET = Floor(name="ours / theirs", value=2.0, at_least=1.5)


MISSED = Floor(name="peak memory", value=301.0, unit="MB", at_most=300)


UNCHECKED = Floor(name="ours / ffcv", value=None, because="ffcv is absent (not made)", at_least=1.4)


def test_a_missed_floor_is_named_and_exits_1() -> None:
    result = call(toy(MET, MISSED))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "1 of 2 floors missed: peak memory: 301.0 MB, not <= 300.0 MB"
    assert re.search(r"^peak memory +301\.0 MB +<= 300\.0 MB  MISSED$", result.stdout, re.MULTILINE)
    assert re.search(r"^ours / theirs +2\.000x +>= 1\.500x  met$", result.stdout, re.MULTILINE)


def test_an_absent_peer_and_its_floor_are_said_and_do_not_fail() -> None:
    result = call(toy(MET, UNCHECKED, absent={"ffcv": "not made"}))
    assert result.exit_code == 0
    assert re.search(r"^ffcv +- +- +- +-  absent: not made$", result.stdout, re.MULTILINE)
    assert re.search(r"^ours / ffcv .*not checked: ffcv is absent \(not made\)$", result.stdout, re.MULTILINE)
    assert result.stdout.splitlines()[-1] == "no floor missed of 2 (1 not checked)"


def test_the_record_holds_everything(tmp_path: Path) -> None:
    """Also if a floor was missed, because that record is the most useful."""
    path = tmp_path / "record.json"
    assert call(toy(MET, MISSED, UNCHECKED, absent={"ffcv": "not made"}), "--record", path).exit_code == 1
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["benchmark"] == "toy"
    assert record["item"] == "images"
    assert record["settings"] == {"rounds asked": 5}
    assert record["exit_code"] == 1
    assert record["notes"] == ["drawn pictures"]
    machine = record["machine"]
    facts = "cpu cores threads memory_gb load_average system python versions revision date"
    assert set(machine) == {*facts.split(), "load_average_at_end", "other_work_percent", "busy"}
    assert all(machine[key] not in (None, "") for key in machine)
    assert machine["versions"]["numpy"] == np.__version__
    assert {"freelight", "numpy"} == set(machine["versions"])
    ours, _, ffcv = record["contenders"]
    assert (ours["name"], ours["absent"], ours["median_rate"]) == ("ours", None, 200)
    assert ours["laps"] == [{"items": items, "seconds": 1.0} for items in (200, 210, 190)]
    assert (ffcv["name"], ffcv["absent"], ffcv["median_rate"], ffcv["laps"]) == ("ffcv", "not made", None, [])
    assert [(floor["name"], floor["met"]) for floor in record["floors"]] == [
        ("ours / theirs", True),
        ("peak memory", False),
        ("ours / ffcv", None),
    ]
    assert record["floors"][1].items() >= {"value": 301.0, "unit": "MB", "at_most": 300, "at_least": None}.items()
    assert record["floors"][2]["because"] == "ffcv is absent (not made)"
    assert [figure["name"] for figure in record["figures"]] == ["ours / theirs"]


def test_json_is_the_record_and_quiet_prints_nothing(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    printed = call(toy(MET, MISSED), "--json", "--record", path)
    assert (printed.exit_code, json.loads(printed.stdout)) == (1, json.loads(path.read_text()))
    quiet = call(toy(MET, MISSED), "--quiet")
    assert (quiet.exit_code, quiet.output) == (1, "")


def test_a_busy_machine_is_marked(tmp_path: Path) -> None:
    """Half of the cores and one more are busy, so at least a third of all is, more than the 15 % that count as busy."""
    burn = [sys.executable, "-Sc", "print(flush=True)\nwhile True: pass"]
    path = tmp_path / "record.json"
    with ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) // 2 + 1):
            process = stack.enter_context(subprocess.Popen(burn, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        result = call(toy(MET), "--record", path)
    machine = json.loads(path.read_text())["machine"]
    assert machine["busy"]
    assert all(15 < percent <= 100 for percent in machine["other_work_percent"])
    assert re.search(r"^load .* at the end; other work used .*: A BUSY MACHINE", result.stdout, re.MULTILINE)


def test_bad_input_exits_2_before_anything_is_measured(tmp_path: Path) -> None:
    result = call(toy(MET), "--record", tmp_path / "none" / "record.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no folder" in result.stderr
    assert call(toy(MET), "--rounds", "0").exit_code == 2
    result = call(shards.command, "--images", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    nothing = "not a folder or an archive: it does not exist; correct the path"
    assert result.stderr == f"error: --images {tmp_path}/none is {nothing}\n"
    (tmp_path / "train" / "n0").mkdir(parents=True)
    (tmp_path / "train" / "n0" / "text.JPEG").write_text("not a picture")
    result = call(shards.command, "--images", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none of 1 images can be decoded" in result.stderr


def test_a_contender_that_dies_says_why(tmp_path: Path) -> None:
    at_once = script(tmp_path / "peer" / "bin" / "python", "echo ImportError: no such thing >&2; exit 3")
    with (
        pytest.raises(FreelightError, match=r"peer ended with exit code 3: ImportError: no such thing; .*delete"),
        process_contender("peer", at_once, "freelight.benchmarks.nothing", ()),
    ):
        pass
    later = script(tmp_path / "later", """echo '{"versions": {}}'; echo out of memory >&2; exit 9""")
    with process_contender("peer", later, "freelight.benchmarks.nothing", ()) as contender:
        assert contender.lap is not None
        with pytest.raises(FreelightError, match="exit code 9: out of memory"):
            contender.lap()


@pytest.mark.parametrize("wheel", ["nvidia-dali-cuda120", "nvidia-dali-cuda130"])
def test_the_version_of_dali_is_that_of_the_installed_wheel(
    wheel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For CUDA 12 another wheel is installed than the one that `setup.cfg` names."""
    folder = tmp_path / f"{wheel.replace('-', '_')}-2.3.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {wheel}\nVersion: 2.3.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert machine_facts((DALI_WHEEL,))["versions"][wheel] == "2.3.0"


def test_a_record_holds_the_command_as_a_user_types_it(tmp_path: Path) -> None:
    assert CHECKOUT is not None
    words = [str(CHECKOUT / "tools" / "benchmark"), "free", "--shards", "/data/sets/caltech", "--record=/tmp/o/r.json"]
    assert as_typed(words) == "tools/benchmark free --shards FOLDER/caltech --record=FOLDER/r.json"
    assert as_typed(["/opt/venv/bin/freelight", "train", "--set", "width=1"]) == "freelight train --set width=1"
    words = ["train", "--out", str(tmp_path / "runs" / "a b"), "--shards", "../data"]
    assert as_typed(words, below=tmp_path) == f"train --out 'FOLDER/{tmp_path.name}/runs/a b' --shards ../data"


def test_published_records_name_no_folder_of_the_machine() -> None:
    assert CHECKOUT is not None
    records = sorted((CHECKOUT / "docs" / "claims").glob("*.json"))
    assert records
    for path in records:
        assert re.findall(r"[\s\"=]/\w+/[^\s\"]*", path.read_text()) == [], path


def test_other_work_is_that_of_others_alone() -> None:
    """This process's own work does not count, nor that of a child that it waited for."""

    def busy() -> float:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")

    cores, began, before, others = os.cpu_count() or 1, time.monotonic(), busy(), OtherWork()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    percent, all_seconds, seconds = others.percent(), busy() - before, time.monotonic() - began
    assert percent < 100 * (all_seconds - 0.2) / (seconds * cores), "the child worked for 0.5 s"
    others = OtherWork()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(0.5)
        percent = others.percent()
        process.kill()
    assert percent > 50 / cores
