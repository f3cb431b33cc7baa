"""Pack Freelight, its wheels and a dataset in parts of limited size, for a machine without a network."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from freelight.acceptance import unpack
from freelight.benchmarks.machine import CHECKOUT
from freelight.shards import Dataset, FreelightError

GLIBC = ("2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5")
"""Oldest versions of glibc that wheels are made for; pip matches each exactly."""
PLATFORMS = (*(f"manylinux_{version}_x86_64" for version in GLIBC), "manylinux2014_x86_64", "manylinux2010_x86_64")


def checkout() -> Path:
    """Return the folder of the source. Raises `FreelightError` without one."""
    if CHECKOUT is None:
        raise FreelightError("run tools/gpu_bundle from a checkout; an installed wheel has no tests")
    return CHECKOUT


def requirements(present: Iterable[str]) -> list[str]:
    """Return the requirements of setup.cfg, of its extra `fast`, and pytest, without those that are `present`."""
    configuration = ConfigParser()
    configuration.read(checkout() / "setup.cfg")
    listed = configuration["options"]["install_requires"], configuration["options.extras_require"]["fast"], "pytest"
    there = {"torch", *map(_plain, present)}
    lines = (line for lines in listed for line in lines.split())
    return [line for line in lines if _plain(line.partition(">")[0]) not in there]


def _plain(name: str) -> str:
    """Return a distribution's name as names are compared."""
    return name.lower().replace("_", "-")


def download_wheels(folder: Path, wanted: list[str], present: Iterable[str], python: str) -> list[Path]:
    """Download wheels for Linux on x86-64 and this version of Python, with what they need. Return them."""
    words = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", python, *(word for name in PLATFORMS for word in ("--platform", name))]
    pip = [sys.executable, "-m", "pip", "download", *words, "--dest", str(folder)]
    done = subprocess.run([*pip, *wanted], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise FreelightError(f"pip download failed: {done.stderr.strip().splitlines()[-1]}")
    there = {_plain(name) for name in present}
    return sorted(path for path in folder.glob("*.whl") if _plain(path.name.partition("-")[0]) not in there)


def pack_source(path: Path) -> None:
    """Write the checkout's tracked files, as they are now, into a tar."""
    top = checkout()
    listed = subprocess.run(["git", "-C", str(top), "ls-files", "-z"], capture_output=True, text=True, check=True)
    with tarfile.open(path, "w") as tar:
        for name in listed.stdout.rstrip("\0").split("\0"):
            if (top / name).is_file():
                tar.add(top / name, name)


def pack_dataset(dataset: Dataset, path: Path) -> None:
    """Write a dataset's files into a tar."""
    with tarfile.open(path, "w", dereference=True) as tar:
        for file in sorted(dataset.folder.iterdir()):
            if file.is_file():
                tar.add(file, file.name)


def write_parts(files: dict[str, Path], out: Path, most: int) -> list[Path]:
    """Write files into folders of at most `most` bytes each, cut where a folder is full. Return the folders.

    files: by the name that they get when unpacked. Each folder has the manifest and `unpack.py`.
    """
    room, number = 0, 0
    listed: list[dict[str, Any]] = []
    for name, path in files.items():
        pieces: list[dict[str, Any]] = []
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while content := file.read(room or most):
                if not room:
                    number, room = number + 1, most
                room -= len(content)
                digest.update(content)
                part = out / f"part-{number:02d}"
                part.mkdir(parents=True, exist_ok=True)
                piece = f"{len(listed):03d}-{len(pieces):02d}.piece"
                (part / piece).write_bytes(content)
                pieces.append({"part": part.name, "name": piece, "sha256": hashlib.sha256(content).hexdigest()})
        listed.append({"name": name, "sha256": digest.hexdigest(), "pieces": pieces})
    parts = sorted(out.glob("part-*"))
    for part in parts:
        (part / unpack.MANIFEST).write_text(json.dumps({"files": listed}, indent=1) + "\n")
        shutil.copyfile(unpack.__file__, part / "unpack.py")
    return parts
