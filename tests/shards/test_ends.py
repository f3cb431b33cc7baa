"""However a command ends, no worker outlives it for long, and no temporary folder is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from freelight.demo.drawing import draw_pictures
from freelight.shards.base.console import reports_errors

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"


def test_sigterm_unwinds_a_command_and_the_handler_is_put_back(tmp_path: Path) -> None:
    left: list[str] = []

    @reports_errors
    def command() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            left.append("tidied up")

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 128 + signal.SIGTERM
    assert left == ["tidied up"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    draw_pictures(folder, train_per_class=40, val_per_class=2)
    return folder


def start(images: Path, out: str, temporary: Path, *more: str) -> subprocess.Popen[str]:
    """Start `make_shards` with two workers, in a session of its own."""
    temporary.mkdir()
    words = [sys.executable, str(TOOL), "--images", str(images), "--out", out, "--workers", "2", *more]
    environment = {**os.environ, "TMPDIR": str(temporary), "JOBLIB_TEMP_FOLDER": str(temporary)}
    return subprocess.Popen(
        [*words, "--samples-per-shard", "8"],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def living(session: int) -> list[str]:
    """Return the states of the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(number) == session and state != "Z":
            found.append(f"{path.parent.name} {state}")
    return found


@pytest.mark.slow
def test_after_sigkill_of_the_command_its_workers_end(images: Path, tmp_path: Path) -> None:
    job = start(images, str(tmp_path / "out"), tmp_path / "temporary")
    wait_until(lambda: (tmp_path / "out/.partial/train-000001.record").exists(), 60)
    assert len(living(job.pid)) >= 3
    job.kill()
    job.communicate()
    wait_until(lambda: not living(job.pid), 10)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["a folder", "a URL"])
def test_after_sigterm_no_worker_and_no_temporary_folder_is_left(to: str, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = start(images, f"file://{out}" if to == "a URL" else str(out), tmp_path / "temporary")
    wait_until(lambda: (out / ".partial/train-000001.record").exists(), 60)
    job.terminate()
    job.communicate(timeout=30)
    assert job.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not living(job.pid), 10)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_an_error_while_workers_run_is_one_line_and_leaves_no_temporary_folder(images: Path, tmp_path: Path) -> None:
    job = start(images, f"file://{tmp_path / 'out'}", tmp_path / "temporary", "--max-rejected", "0")
    _, said = job.communicate(timeout=60)
    assert job.returncode == 2
    assert said.startswith("error: 1 image rejected")
    assert len(said.splitlines()) == 1
    wait_until(lambda: not living(job.pid), 10)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_workers_need_no_standard_output(images: Path, tmp_path: Path) -> None:
    words = f"{sys.executable} {TOOL} --images {images} --out {tmp_path}/out --size 16 --workers 2 >&-"
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
