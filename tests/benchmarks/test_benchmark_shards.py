"""`benchmark shards`: its contenders, its oracle, and the memory of a process."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benching import run, script
from PIL import Image

from freelight.benchmarks import shards
from freelight.benchmarks.fidelity import exact_rescale, psnr
from freelight.benchmarks.memory import children, peak_memory_mb
from freelight.benchmarks.peers import PEERS, STAMP
from freelight.benchmarks.rescaling_loops import freelight_loop, pillow_loop
from freelight.shards import Rescaling

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


@pytest.mark.slow
def test_shards_by_path_on_a_tiny_tree(pictures: Path, fake_peers: Path, tmp_path: Path) -> None:
    """Times are not checked, so floors may be missed; the table and the record are complete."""
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
        "rescale_file loop / img2dataset": 1.1,
        "make_shards, 2 workers / make_shards, 1 worker": 1.7,
        "make_shards, 1 worker / rescale_file loop": 0.9,
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
        assert contender.absent == f"not installed in {tmp_path}; run: freelight benchmark peers img2dataset"


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
    """A small child of this large process has a small peak, although its ru_maxrss may be this process's."""
    assert peak_memory_mb() > 50
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in children()
        peak = peak_memory_mb(child.pid)
        child.kill()
    assert 0 < peak < 20
    assert child.pid not in children()
    assert peak_memory_mb(child.pid) == 0
