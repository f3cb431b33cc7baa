"""The locale C without UTF-8 mode, where Python reads file names as ASCII, gives the same dataset."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from making import files
from PIL import Image

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = ("zebra", "žába", "\uff5a", os.fsdecode(b"caf\xe9"), "鶴")  # as surrogates they sort in another order


def run(words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *words], env={**os.environ, **environment}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.mark.slow
def test_the_dataset_does_not_depend_on_the_locale(tmp_path: Path) -> None:
    images = tmp_path / "imagés"
    for name in NAMES:
        for number in range(3):
            path = images / "train" / name / "dé" / f"{name}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (80 * number, len(name), 9)).save(path)
        (images / "train" / name / "gone.png").symlink_to(f"{name}-nowhere")
    (images / "notés.zip").touch()
    found = []
    for environment in ({"LC_ALL": "C.UTF-8"}, PLAIN):
        out = tmp_path / f"out-{len(found)}"
        words = ["--images", str(images), "--out", str(out), "--size", "16", "--samples-per-shard", "4"]
        said = run([str(TOOL), *words, "--max-rejected", "5"], environment)
        assert "dataset" in said
        found.append(files(out))
    classes = [info["id"] for info in json.loads(found[0]["dataset.json"])["classes"]]
    assert classes == sorted(NAMES)
    assert found[0] == found[1]
