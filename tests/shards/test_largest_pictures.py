"""The largest pictures that are accepted need less than 1 GB of memory in any format, as --help promises."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, features

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools" / "make_shards"
LARGEST = {
    "cmyk.jpg": ("CMYK", 8000, {"progressive": True}),
    "progressive.jpg": ("RGB", 8000, {"progressive": True, "subsampling": "4:4:4"}),
    "alpha.png": ("RGBA", 8000, {"compress_level": 1}),
    "deep.png": ("I;16", 8000, {"compress_level": 1}),
    "palette.gif": ("P", 8000, {}),
    "strip.tif": ("RGBA", 8000, {"compression": "tiff_deflate", "strip_size": 1 << 30}),
    "lossless.webp": ("RGBA", 5656, {"lossless": True, "method": 0}),
    "alpha.avif": ("RGBA", 5656, {"speed": 10, "subsampling": "4:4:4"}),
    "untiled.jp2": ("RGBA", 4000, {}),
}
"""Name -> mode, side and options. 8,000 x 8,000 is the default of --max-pixels."""

MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
"""
"""Run a command, and print its peak memory in kB and its CPU seconds. A process starts with its parent's peak, so the
parent must be small."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, "") for name in LARGEST),
        ("alpha.png", "--geometry original"),
        ("progressive.jpg", "--geometry original"),
        ("progressive.jpg", "--geometry shorter --size 4000"),
    ],
)
def test_a_worker_needs_less_than_1_gb(name: str, options: str, tmp_path: Path) -> None:
    mode, side, saving = LARGEST[name]
    if not features.check({".avif": "avif", ".webp": "webp", ".jp2": "jpg_2000"}.get(Path(name).suffix, "zlib")):
        pytest.skip("this Pillow does not read the format")
    (tmp_path / "images" / "a").mkdir(parents=True)
    Image.new(mode, (side, side)).save(tmp_path / "images" / "a" / name, **saving)
    command = [sys.executable, str(TOOL), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "out")]
    command += options.split()
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True)
    kilobytes, seconds = map(float, done.stdout.splitlines()[-1].split())
    print(f"{name}: {kilobytes / 1000:.0f} MB, {seconds:.1f} s")
    assert "1 sample of" in done.stdout
    assert kilobytes < 1_000_000
    assert seconds < 20
