"""A decoder that kills its worker process is one error, which names the pictures that the workers had at hand."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from PIL import Image

from freelight.shards import FreelightError
from freelight.shards.base import naming_pictures, noting_pictures
from freelight.shards.base.executor import LostWorkerError

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"


def slow_picture() -> bytes:
    """A JPEG of 3,000 scans, which takes seconds to decode."""
    buffer = io.BytesIO()
    Image.new("RGB", (1000, 1000), "teal").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 3000 + data[-2:]


def lose(folder: Path, *names: str) -> None:
    """Note pictures in a process that dies, as `make_shards` would."""
    child = "import os, sys; from pathlib import Path; from freelight.shards.base import noting_pictures\n"
    child += "with noting_pictures(Path(sys.argv[1])) as note: [note(name) for name in sys.argv[2:]]; os._exit(1)"
    with naming_pictures(folder):
        subprocess.run([sys.executable, "-c", child, folder / "train-000001.record", *names], check=False)
        raise LostWorkerError("a worker was killed")


def test_the_last_picture_of_a_process_that_died_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-000000.at-hand").write_bytes(b"of an earlier run.jpg\n")
    said = r"^a worker was killed; the workers had these images at hand: '\\udcff\\x1b\.jpg'; if it happens"
    with pytest.raises(FreelightError, match=said):
        lose(tmp_path, "a/a longer name.jpg", os.fsdecode(b"\xff\x1b.jpg"))
    with noting_pictures(tmp_path / "train-000001.record") as note:
        note("a.jpg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "tar.gz"])
def test_a_worker_that_dies_is_an_error_that_names_its_picture(kind: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    with tarfile.open(images / "n00000001.tar", "w") as tar:
        for name, data in (("n00000001_1.JPEG", slow_picture()), ("n00000001_2.JPEG", slow_picture()[:900])):
            (images / "n00000001").mkdir(exist_ok=True)
            (images / "n00000001" / name).write_bytes(data)
            tar.add(images / "n00000001" / name, name)
    if kind == "tar.gz":
        with tarfile.open(tmp_path / "fall11_whole.tar.gz", "w:gz") as tar:
            tar.add(images / "n00000001.tar", "n00000001.tar")
        images = tmp_path / "fall11_whole.tar.gz"
    else:
        (images / "n00000001.tar").unlink()
    out = tmp_path / "out"
    words = ["--images", str(images), "--out", str(out), "--workers", "2", "--max-rejected", "1"]
    words += ["--samples-per-shard", "1"]  # two tasks: one alone would run without a worker
    job = subprocess.Popen([sys.executable, str(TOOL), *words], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not any(b"_1.JPEG" in note.read_bytes() for note in (out / ".partial").rglob("*.at-hand")):
            assert job.poll() is None
            assert time.monotonic() < deadline, "no worker began"
            time.sleep(0.01)
        for worker in workers_of(job.pid):
            os.kill(worker, signal.SIGSEGV)
        _, said = job.communicate(timeout=60)
    finally:
        job.kill()
        job.wait()
    assert job.returncode == 2
    assert "_1.JPEG'" in said.splitlines()[-1]
    assert "a worker process was killed" in said.splitlines()[-1]
    assert "Traceback" not in said


def workers_of(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"LokyProcess" in Path(f"/proc/{child}/cmdline").read_bytes()]
