"""`gpu-acceptance`: its parts on the CPU, and that an unfinished or failed part is never taken for a finished one."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from freelight.acceptance import measuring, parts
from freelight.acceptance.results import Results
from freelight.acceptance.session import OutOfTimeError, Session
from freelight.commands.gpu_acceptance import UNFINISHED, command
from freelight.shards import Dataset, FreelightError


def call(out: Path, *words: str) -> Result:
    return CliRunner().invoke(command, ["--out", str(out), "--device", "cpu", "--quick", *words])


def part(name: str, work: Callable[[Session], measuring.Found]) -> parts.Part:
    return parts.Part(name=name, minutes=1, work=work)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(out=tmp_path, device="cpu", quick=True, ends=time.monotonic() + 60)


def test_finished_parts_are_skipped_and_failed_ones_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 while a part has failed, 3 while one is not finished, then 0."""
    done: list[str] = []
    faults: dict[str, Exception] = {"one": ValueError("it broke"), "two": OutOfTimeError()}

    def work(name: str) -> Callable[[Session], measuring.Found]:
        def noted(_: Session) -> measuring.Found:
            done.append(name)
            if name in faults:
                raise faults[name]
            return measuring.Found({"speed": f"{name} images/s"}, {})

        return noted

    monkeypatch.setattr(parts, "PARTS", tuple(part(name, work(name)) for name in ("one", "two", "three")))
    first = call(tmp_path)
    assert (first.exit_code, done) == (1, ["one", "two"])
    assert "FAILED: ValueError: it broke" in first.stdout
    assert "two: not finished when the time was over" in first.stdout
    assert not (tmp_path / "parts" / "two.json").exists()
    del faults["two"]
    assert call(tmp_path).exit_code == 1
    assert done[2:] == ["two", "three", "one"]
    del faults["one"]
    last = call(tmp_path)
    assert (last.exit_code, done[5:]) == (0, ["one"])
    assert "3 of 3 parts passed, 0 failed" in last.stdout
    found = json.loads(call(tmp_path, "--table", "--json").stdout)["parts"]
    assert found["one"].items() >= {"passed": True, "figures": {"speed": "one images/s"}}.items()
    assert call(tmp_path, "--quiet").output == ""
    assert call(tmp_path).exit_code == 0
    assert len(done) == 6
    (tmp_path / "parts" / "three.json").unlink()
    faults["three"] = OutOfTimeError()
    assert call(tmp_path).exit_code == UNFINISHED


def test_results_of_another_device_or_damaged_ones_are_refused(session: Session) -> None:
    parts_folder = session.out / "parts"
    parts_folder.mkdir()
    (parts_folder / "smoke.json").write_text("{")
    with pytest.raises(FreelightError, match=r"smoke\.json .*delete it to do the part again"):
        Results(session.out, device="cpu", quick=True).load("smoke")
    good = {"part": "smoke", "passed": True, "seconds": 1, "reason": "", "figures": {}, "found": {}}
    (parts_folder / "smoke.json").write_text(json.dumps({**good, "device": "cuda", "quick": True}))
    with pytest.raises(FreelightError, match=r"smoke\.json has `device` cuda, not cpu; give another `out`"):
        Results(session.out, device="cpu", quick=True).load("smoke")


def test_a_process_ends_with_the_time_and_a_failure_is_quoted(session: Session) -> None:
    """What it started ends with it."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with pytest.raises(OutOfTimeError):
        replace(session, ends=time.monotonic() + 0.2).run("sleeper", sys.executable, "-c", child)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "time.sleep(60)" not in left
    with pytest.raises(FreelightError, match=r"it broke.* ended with exit code 1: it broke \(see .*broken\.err\)"):
        session.run("broken", sys.executable, "-c", "import sys; sys.exit('it broke')")
    assert "\nCUDA_VISIBLE_DEVICES=\n" in session.run("hidden", "env")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --device 'cuda' is neither the CPU nor a CUDA device that torch finds\n"


def test_a_decoders_log_is_counted() -> None:
    """Two images of one decoder, one of another; the lines that register decoders are left out."""
    log = (
        "\x1b[0;32m[INFO] \x1b[0m[nvimgcodec] Framework is registering decoder (id:a_jpeg_decoder codec:jpeg)\n"
        "\x1b[0;32m[INFO] \x1b[0m[nvjpeg-ext] HW decoder not supported by this platform. Skip.\n"
        "\x1b[0;32m[INFO] \x1b[0m[nvimgcodec] 0: libjpeg_turbo_decoder process #0\n"
        "\x1b[0;32m[INFO] \x1b[0m[nvimgcodec] 0: libjpeg_turbo_decoder process #1\n"
        "[INFO] [nvimgcodec] 0: nvjpeg_cuda_decoder process #2\n"
    )
    decoded, lines = measuring.read_decoder_log(log)
    assert decoded == {"libjpeg_turbo_decoder": 2, "nvjpeg_cuda_decoder": 1}
    assert lines == [
        "2 x [INFO] [nvimgcodec] N: libjpeg_turbo_decoder process #N",
        "1 x [INFO] [nvjpeg-ext] HW decoder not supported by this platform. Skip.",
        "1 x [INFO] [nvimgcodec] N: nvjpeg_cuda_decoder process #N",
    ]


def test_every_file_with_a_branch_for_a_gpu_is_in_the_document() -> None:
    """No CPU runs these branches, so nothing else would name a new one."""
    root = Path(__file__).parents[2]
    branch = re.compile(r"torch\.cuda|is_cuda|\.type [!=]= \"(?:cpu|cuda)\"|device(?:_id)? (?:is|==) (?:None|\"cpu\")")
    branching = {
        str(path.relative_to(root))
        for package in ("shards", "pipeline", "train")
        for path in (root / package).rglob("*.py")
        if branch.search(path.read_text(encoding="utf-8"))
    }
    named = set(re.findall(r"`((?:shards|pipeline|train)/[\w/]+\.py)`", (root / "docs/gpu.md").read_text("utf-8")))
    assert len(branching) > 10
    assert branching - named == set()
    assert [name for name in named if not (root / name).is_file()] == []


@pytest.mark.slow
def test_the_parts_that_train_pass_on_the_cpu(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smoke test, a resumed run, two columns, and the decoding benchmark; the others run in the same way."""
    names = ("smoke", "decode", "resume", "columns")
    monkeypatch.setattr(parts, "PARTS", tuple(one for one in parts.PARTS if one.name in names))
    result = call(tmp_path, "--shards", str(dataset.folder))
    assert result.exit_code == 0, result.output
    found = {name: json.loads((tmp_path / "parts" / f"{name}.json").read_text()) for name in names}
    assert found["smoke"]["figures"]["difference to the CPU, random crop, mean"] == "0.000 levels"
    assert sum("images decoded by" in name for name in found["smoke"]["figures"]) == 1
    assert list(found["resume"]["figures"].values()) == ["equal to the bit"]
    assert found["decode"]["found"]["benchmark"] == "decode"
