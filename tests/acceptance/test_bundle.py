"""`gpu-bundle`: files come out of their parts byte for byte, and the last part installs wheels and source."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from freelight.acceptance import bundle, unpack
from freelight.shards import Dataset

MOST = 1000


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Files below, at and above the size of a part, and an empty one."""
    made = {}
    for name, size in (("small", 10), ("wheels/large", 3500), ("exact", MOST), ("empty", 0)):
        made[name] = tmp_path / "given" / name
        made[name].parent.mkdir(parents=True, exist_ok=True)
        made[name].write_bytes(np.random.default_rng(size).bytes(size))
    return made


def test_files_come_out_of_their_parts_byte_for_byte(files: dict[str, Path], tmp_path: Path) -> None:
    """In any order of the parts; until the last one is there, those that are missing are named."""
    parts = bundle.write_parts(files, tmp_path / "parts", MOST)
    assert [part.name for part in parts] == [f"part-{number:02d}" for number in range(1, 6)]
    assert all(sum(piece.stat().st_size for piece in part.glob("*.piece")) <= MOST for part in parts)
    folder = tmp_path / "unpacked"
    for part in reversed(parts):
        manifest = unpack.keep_pieces(part, folder)
        assert unpack.missing_parts(manifest, folder) == [other.name for other in parts if other < part]
    unpack.join_files(manifest, folder)
    assert {name: (folder / name).read_bytes() for name in files} == {
        name: path.read_bytes() for name, path in files.items()
    }


def test_a_damaged_piece_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    part = bundle.write_parts(files, tmp_path / "parts", MOST)[1]
    piece = next(part.glob("*.piece"))
    piece.write_bytes(bytes([piece.read_bytes()[0] ^ 1]) + piece.read_bytes()[1:])
    with pytest.raises(SystemExit, match=rf"error: {piece} is damaged; copy it again"):
        unpack.keep_pieces(part, tmp_path / "unpacked")


def test_what_is_present_is_not_packed() -> None:
    wanted = bundle.requirements(["numpy", "Scikit_Learn"])
    names = {line.partition(">")[0] for line in wanted}
    assert {"click", "pytest", "simplejpeg", "webdataset"} < names
    assert any(name.startswith("nvidia-dali-cuda") for name in names)
    assert names.isdisjoint({"torch", "numpy", "scikit-learn"})


@pytest.mark.slow
def test_the_last_part_installs_wheels_source_and_dataset(dataset: Dataset, tmp_path: Path) -> None:
    """By `unpack.py` alone, with a small wheel made here; the environment sees the packages of this Python."""
    wheel = tmp_path / "given" / "drawn_wheel-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("drawn_wheel.py", "VALUE = 7\n")
        information = "drawn_wheel-1.0.dist-info"
        archive.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: drawn-wheel\nVersion: 1.0\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    bundle.pack_source(tmp_path / "given" / unpack.SOURCE)
    bundle.pack_dataset(dataset, tmp_path / "given" / unpack.DATASET)
    files = {name: tmp_path / "given" / name for name in (unpack.SOURCE, unpack.DATASET)}
    parts = bundle.write_parts({**files, f"{unpack.WHEELS}/{wheel.name}": wheel}, tmp_path / "parts", 1 << 20)
    folder = tmp_path / "unpacked"
    for part in parts:
        done = subprocess.run([sys.executable, part / "unpack.py", folder], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("installed; run:\n")
    code = (
        "import json, drawn_wheel, torch, freelight.train; from freelight.benchmarks.machine import CHECKOUT;"
        "print(json.dumps([drawn_wheel.VALUE, freelight.train.__file__, str(CHECKOUT)]))"
    )
    run = subprocess.run([folder / "venv/bin/python", "-P", "-c", code], capture_output=True, text=True, check=True)
    value, module, checkout = json.loads(run.stdout)
    assert value == 7
    assert module.startswith(str(folder / "venv"))
    assert checkout == str(folder / "freelight")
    words = [*done.stdout.splitlines()[1].partition(" --out")[0].split(), "--help"]
    assert "--minutes" in subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Dataset(folder / "dataset").fingerprint == dataset.fingerprint
