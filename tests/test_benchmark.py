"""tools/benchmark measures in turn, compares within rounds, names what it missed, and hides no absent peer."""

import json
import math
import os
import re
import runpy
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from freelight.shards import Dataset, FreelightError, Rescaling

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from benchmarks import loader, peers, shards
from benchmarks.command import benchmark
from benchmarks.fidelity import exact_rescale, psnr
from benchmarks.machine import machine_facts
from benchmarks.memory import children, peak_memory_mb
from benchmarks.peers import PEERS, STAMP, Peer, find_peer, make_peer
from benchmarks.process import process_contender
from benchmarks.repeated import repeat_samples
from benchmarks.report import Figure, Floor, Report
from benchmarks.rescaling_loops import freelight_loop, pillow_loop
from benchmarks.timing import Contender, Lap, Timings, interleave, one_core, timed

TOOLS = Path(__file__).parents[1] / "tools"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run tools/benchmark as typed: by its path, with the virtual environment first on PATH."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [str(TOOLS / "benchmark"), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def finished(rates: dict[str, Sequence[float]], absent: dict[str, str] | None = None) -> Timings:
    """Return timings of one second a lap with the given rates."""
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
    """The machine slows down fourfold in round 2: both suffer, their ratio does not. Medians taken apart differ."""
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
    with pytest.raises(FreelightError, match="idle did not finish a single item"):
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

    @benchmark
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


def call(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, words)))


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
    """Also when a floor was missed: that is the record one wants to look at."""
    path = tmp_path / "record.json"
    assert call(toy(MET, MISSED, UNCHECKED, absent={"ffcv": "not made"}), "--record", path).exit_code == 1
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["benchmark"] == "toy"
    assert record["item"] == "images"
    assert record["settings"] == {"rounds asked": 5}
    assert record["exit_code"] == 1
    assert record["notes"] == ["drawn pictures"]
    machine = record["machine"]
    facts = "cpu cores memory_gb load_average system python versions revision date"
    assert set(machine) == set(facts.split())
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


def test_bad_input_exits_2_before_anything_is_measured(tmp_path: Path) -> None:
    result = call(toy(MET), "--record", tmp_path / "none" / "record.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no folder" in result.stderr
    assert call(toy(MET), "--rounds", "0").exit_code == 2
    result = call(shards.command, "--images", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    nothing = "not a folder or an archive; there is nothing of that name"
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
        process_contender("peer", at_once, "benchmarks.nothing", ()),
    ):
        pass
    later = script(tmp_path / "later", """echo '{"versions": {}}'; echo out of memory >&2; exit 9""")
    with process_contender("peer", later, "benchmarks.nothing", ()) as contender:
        assert contender.lap is not None
        with pytest.raises(FreelightError, match="exit code 9: out of memory"):
            contender.lap()


RESIZER = """
import sys
class Resizer:
    def __init__(self, image_size, resize_mode, resize_only_if_bigger, encode_quality):
        assert (image_size, resize_mode, resize_only_if_bigger, encode_quality) == (256, "center_crop", False, 95)
    def __call__(self, stream):
        print("chatter that is no reply")
        bad = not stream.read().startswith((b"\\xff\\xd8", b"\\x89PNG"))
        return None, 256, 256, 256, 256, "bad" if bad else None
"""


@pytest.fixture
def fake_peers(tmp_path: Path) -> Path:
    """A folder of peers with a finished environment for img2dataset, whose resizer does nothing."""
    home, library = tmp_path / "peers", tmp_path / "library"
    script(home / "img2dataset/bin/python", f'PYTHONPATH="$PYTHONPATH:{library}" exec {sys.executable} "$@"')
    (home / "img2dataset" / STAMP).write_text(PEERS["img2dataset"].stamp)
    (library / "img2dataset").mkdir(parents=True)
    (library / "img2dataset" / "resizer.py").write_text(RESIZER)
    for name in ("img2dataset", "opencv_python_headless", "albumentations"):
        (library / f"{name}-1.2.dist-info").mkdir()
        (library / f"{name}-1.2.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.2\n")
    return home


def test_shards_by_path_on_a_tiny_tree(pictures: Path, fake_peers: Path, tmp_path: Path) -> None:
    """Nothing is asserted of the times, so floors may be missed; all of the table and the record is there."""
    record = tmp_path / "record.json"
    words = ("--images", pictures, "--limit", "6", "--rounds", "1", "--peers", fake_peers, "--record", record)
    result = run("shards", *words)
    assert result.returncode in (0, 1), result.stderr
    for name in (shards.LOOP, shards.PILLOW, shards.PEER, shards.ONE, shards.TWO):
        assert re.search(rf"^{name} +\d+\.\d +\d+\.\d +\d+\.\d +\d( |$)", result.stdout, re.MULTILINE), name
    assert "img2dataset 1.2, opencv-python-headless 1.2" in result.stdout
    written = json.loads(record.read_text())
    floors = {floor["name"]: floor for floor in written["floors"]}
    assert all(floor["met"] is not None for floor in floors.values()) or written["machine"]["cores"] == 1
    assert {name: floor["at_least"] or floor["at_most"] for name, floor in floors.items()} == {
        "rescale_file loop / Pillow loop": 1.3,
        "rescale_file loop / img2dataset": 1.2,
        "make_shards, 2 workers / make_shards, 1 worker": 1.8,
        "make_shards, 1 worker / rescale_file loop": 0.93,
        "peak memory of a worker": 300,
        "PSNR before JPEG, median": 50,
        "PSNR before JPEG, least": 45,
    }
    assert floors["PSNR before JPEG, least"]["met"]
    assert floors["peak memory of a worker"]["value"] > 20
    assert written["exit_code"] == result.returncode


def test_without_its_environment_img2dataset_is_absent(tmp_path: Path) -> None:
    with shards._img2dataset(tmp_path, [], Rescaling()) as contender:
        assert contender.lap is None
        assert contender.absent == f"not made in {tmp_path}: tools/benchmark peers img2dataset"


def test_both_loops_do_every_file_and_make_pictures_of_one_geometry(tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((400, 300)).save(tmp_path / "a.jpg")
    paths = [tmp_path / "a.jpg"]
    assert freelight_loop(paths, Rescaling()) == pillow_loop(paths, Rescaling()) == 1


def jpeg_free(pixels: np.ndarray[Any, np.dtype[np.uint8]], path: Path) -> bytes:
    Image.fromarray(pixels).save(path, "PNG")
    return path.read_bytes()


def test_the_oracle_shrinks_by_exact_areas_and_crops_the_centre(tmp_path: Path) -> None:
    """A 6 x 4 picture to 2: the shorter side by blocks of 2 x 2, then columns (3 - 2) // 2 = 0 and 1."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    blocks = pixels.reshape(2, 2, 3, 2, 3).mean((1, 3))
    np.testing.assert_allclose(exact_rescale(jpeg_free(pixels, tmp_path / "a"), 2), blocks[:, :2], atol=1e-12)
    thirds = np.array([[0, 90, 30]], np.uint8)[..., None].repeat(3, 2).repeat(3, 0)  # 3 columns to 2: 1.5 pixels each
    np.testing.assert_allclose(exact_rescale(jpeg_free(thirds, tmp_path / "b"), 2)[0, :, 0], [30, 50], atol=1e-12)


def test_the_oracle_enlarges_as_pillow_does_but_for_rounding(tmp_path: Path) -> None:
    small = Image.effect_noise((40, 30), 10).convert("RGB")
    data = jpeg_free(np.asarray(small), tmp_path / "a")
    whole = np.asarray(small.resize((80, 60), Image.Resampling.BICUBIC))
    assert np.abs(exact_rescale(data, 60) - whole[:, 10:70]).max() < 1.5


def test_psnr_of_a_known_error() -> None:
    pixels = np.full((2, 2, 3), 100, np.uint8)
    assert psnr(pixels, pixels + 1.0) == pytest.approx(20 * math.log10(255))
    assert psnr(pixels, pixels.astype(float)) == pytest.approx(148.13, abs=0.01)


def test_peak_memory_is_of_the_process_alone() -> None:
    """A small child of this large process has a small peak; its ru_maxrss may be ours."""
    assert peak_memory_mb() > 50
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in children()
        peak = peak_memory_mb(child.pid)
        child.kill()
    assert 0 < peak < 20
    assert child.pid not in children()
    assert peak_memory_mb(child.pid) == 0


class Builder:
    """Instead of building: note the commands, and fail at the one that contains `fails`."""

    def __init__(self, fails: str = "nothing") -> None:
        self.fails = fails
        self.commands: list[str] = []

    def __call__(self, command: Sequence[str], log: Path) -> int:
        self.commands.append(" ".join(command))
        if self.fails not in self.commands[-1]:
            (log.parent / "toy").mkdir(exist_ok=True)
            return 0
        log.write_text("Collecting ffcv\nERROR: no compiler\nnotice: a new pip\n")
        return 1


TOY = Peer(name="toy", installs=("a==1 b", "--no-deps c"), imports=("a", "c"))


def test_a_peer_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "toy", TOY)
    builder = Builder()
    assert find_peer("toy", tmp_path) is None
    assert make_peer(TOY, tmp_path, run=builder) == tmp_path / "toy"
    venv, first, second, proof = builder.commands
    assert venv.endswith(f"-m venv --clear {tmp_path}/toy")
    assert first.endswith("pip --disable-pip-version-check install a==1 b")
    assert second.endswith("install --no-deps c")
    assert proof.endswith("-c import a; import c")
    assert find_peer("toy", tmp_path) == tmp_path / "toy" / "bin" / "python"
    make_peer(TOY, tmp_path, run=builder)
    assert len(builder.commands) == 4, "it was there"
    monkeypatch.setitem(PEERS, "toy", Peer(name="toy", installs=("a==2 b",), imports=("a",)))
    assert find_peer("toy", tmp_path) is None, "another recipe makes another environment"


@pytest.mark.parametrize("fails", ["venv", "install --no-deps", "import a"])
def test_a_failed_build_leaves_no_stamp_and_says_why(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "toy", TOY)
    with pytest.raises(FreelightError, match=rf"{fails}.* failed: ERROR: no compiler \(all of it: {tmp_path}/toy.log"):
        make_peer(TOY, tmp_path, run=Builder(fails))
    assert find_peer("toy", tmp_path) is None
    assert not list(tmp_path.rglob(STAMP))
    builder = Builder()
    make_peer(TOY, tmp_path, run=builder)
    assert len(builder.commands) == 4, "it begins anew"


def test_a_peer_whose_libraries_are_missing_names_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    builder = Builder()
    with pytest.raises(
        FreelightError, match=r"needs a C\+\+ compiler, pkg-config; .*apt-get install libopencv-dev libturbojpeg0-dev"
    ):
        make_peer(PEERS["ffcv"], tmp_path, run=builder)
    assert builder.commands == []


def test_peers_makes_the_others_when_one_fails_and_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(peer: Peer, home: Path) -> Path:
        if peer.name == "ffcv":
            raise FreelightError("its build needs a C++ compiler")
        return home / peer.name

    monkeypatch.setattr(peers, "make_peer", make)
    result = call(peers.command, "--into", tmp_path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{name}: made, in {tmp_path / name}" for name in ("torchvision", "img2dataset")
    ]
    assert "ffcv: not made: its build needs a C++ compiler" in result.stderr
    assert call(peers.command, "img2dataset", "--into", tmp_path).exit_code == 0


def test_the_executable_lists_its_benchmarks_and_refuses_others() -> None:
    path = TOOLS / "benchmark"
    assert os.access(path, os.X_OK), f"chmod +x {path}"
    assert path.read_text().startswith("#!/usr/bin/env python3\n")
    assert len(path.read_text().splitlines()) <= 66, "one screen"
    main = runpy.run_path(str(path))["main"]
    result = call(main, "--help")
    assert result.exit_code == 0
    assert re.findall(r"^  (\w+)  ", result.stdout, re.MULTILINE) == [
        *("shards", "pca", "loader", "train", "free", "peers")
    ]
    assert call(main, "nonsense").exit_code == 2
    assert call(main, "peers", "nonsense").exit_code == 2


def test_no_peer_is_an_extra_of_ours() -> None:
    """Peers have environments of their own; whoever installs Freelight gets none of them."""
    configured = (TOOLS.parent / "setup.cfg").read_text()
    for name in PEERS:
        assert not re.search(rf"^\s*{name}\b", configured, re.MULTILINE)


@pytest.mark.slow
def test_loader_by_path_on_a_tiny_dataset_without_peers(dataset: Dataset, tmp_path: Path) -> None:
    """Nothing is asserted of the times, so floors may be missed; all of ours is there, and all the peers are absent."""
    record = tmp_path / "record.json"
    words = ("--shards", dataset.folder, "--rounds", "1", "--memory-epochs", "6", "--peers", tmp_path)
    result = run("loader", *words, "--record", record)
    assert result.returncode in (0, 1), result.stderr
    written = json.loads(record.read_text())
    absent = {contender["name"]: contender["absent"] for contender in written["contenders"] if contender["absent"]}
    assert absent == {
        name: f"not made in {tmp_path}: tools/benchmark peers {'ffcv' if 'FFCV' in name else 'torchvision'}"
        for name in (loader.WEBDATASET, *loader.FFCV.values())
    }
    for contender in written["contenders"]:
        assert contender["absent"] or contender["laps"][0]["items"] == 2 * 60
    floors = {floor["name"]: floor for floor in written["floors"]}
    unchecked = [name for name, floor in floors.items() if floor["met"] is None]
    assert len(floors) == 16
    assert len(unchecked) == 4
    assert all("FFCV" in name or "torchvision" in name or "ResNet-50" in name for name in unchecked)
    assert 0 < floors["order and draws of these"]["value"] < 200


@pytest.mark.slow
def test_train_and_free_by_path_on_tiny_batches(dataset: Dataset, tmp_path: Path) -> None:
    """Nothing is asserted of the times, so floors may be missed; all of ours is there, and torchvision is absent."""
    records = {}
    for name, words in (("train", ("--peers", tmp_path)), ("free", ("--shards", dataset.folder))):
        record = tmp_path / f"{name}.json"
        result = run(name, "--batch", "2", "--rounds", "1", *words, "--record", record)
        assert result.returncode in (0, 1), result.stderr
        records[name] = json.loads(record.read_text())
    laps = {
        contender["name"]: [lap["items"] for lap in contender["laps"]]
        for record in records.values()
        for contender in record["contenders"]
    }
    absent = laps.pop("torchvision's AlexNet")
    assert absent == []
    assert {tuple(items) for items in laps.values()} == {(2,), (4,)}
    assert len(laps) == 7
    assert all(floor["value"] > 0 for record in records.values() for floor in record["floors"])
    share = {figure["name"]: figure["value"] for figure in records["free"]["figures"]}["wait for data"]
    assert 0 < share < 100


def test_loader_refuses_what_cannot_be_measured(dataset: Dataset, tmp_path: Path) -> None:
    result = call(loader.command, "--shards", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not a finished dataset" in result.stderr
    with pytest.raises(FreelightError, match=r"samples \(=0\) must be at least 1"):
        repeat_samples(dataset, "train", 0, tmp_path / "none")


def test_a_repeated_dataset_reads_the_rows_it_repeats(dataset: Dataset, tmp_path: Path) -> None:
    """In the order of the shards, each row twice or once; labels and sources go with them."""
    given = dataset.split("train")
    made = repeat_samples(dataset, "train", 100, tmp_path / "more").split("train")
    rows = [row for row in range(60) for _ in range(1 + (row < 40))]
    assert [made.read(index) for index in range(100)] == [given.read(row) for row in rows]
    assert made.samples["label"].tolist() == given.samples["label"][rows].tolist()
    assert made.sources == [given.sources[row] for row in rows]
