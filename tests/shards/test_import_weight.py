"""Importing the package is quick: slow libraries are imported on first use."""

import subprocess
import sys

import pytest

SLOW = ("torch", "nvidia", "sklearn", "scipy", "fsspec", "joblib", "simplejpeg", "webdataset", "pyarrow", "distributed")


@pytest.mark.parametrize("module", ["freelight.shards", "freelight.shards.base.console"])
def test_importing_the_package_loads_no_library_that_is_slow_to_import(module: str) -> None:
    """`make-shards --help` needs none of them, and the trainer needs few."""
    code = f"import sys, {module}; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
