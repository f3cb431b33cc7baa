"""The virtual environments of the peers, one for each, under build/peers. No peer is a dependency of Freelight."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from freelight.benchmarks.machine import CHECKOUT
from freelight.shards import FreelightError
from freelight.shards.base import Command, atomic_write, is_quiet, reports_errors, say, say_result, with_output

HOME = (CHECKOUT or Path()) / "build" / "peers"
STAMP = ".made"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How to make a peer's environment.

    installs: the arguments of each `pip install` call. imports: modules that must import in a finished environment.
    libraries: pkg-config names that a build from source needs. packages: Debian packages that contain them.
    """

    name: str
    installs: tuple[str, ...]
    imports: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def stamp(self) -> str:
        """Contents of the stamp file. An environment with another stamp is made again."""
        return json.dumps({"python": platform.python_version(), "installs": self.installs}, indent=1) + "\n"


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="torchvision",
            installs=("torch==2.14.1 torchvision==0.29.1 webdataset timm",),
            imports=("torchvision", "webdataset", "timm"),
        ),
        Peer(
            name="ffcv",
            installs=(
                "numpy<2.3 numba opencv-python-headless pandas psutil tqdm terminaltables fastargs assertpy "
                "pytorch-pfn-extras pillow setuptools torch==2.13.0",
                "--no-build-isolation --no-deps ffcv",  # its build imports numpy; its opencv needs a display
            ),
            imports=("ffcv.loader", "ffcv.writer", "ffcv.transforms"),
            libraries=("opencv4", "libturbojpeg"),
            packages=("libopencv-dev", "libturbojpeg0-dev", "pkg-config", "g++"),
        ),
        Peer(
            name="streaming",
            installs=("torch==2.14.1 torchvision==0.29.1 litdata mosaicml-streaming spdl",),
            imports=("litdata", "streaming", "spdl.io"),
        ),
        Peer(name="img2dataset", installs=("img2dataset",), imports=("img2dataset.resizer",)),
    )
}
"""img2dataset needs webdataset < 0.3, so it cannot share torchvision's environment."""

peers_option = click.option(
    "--peers",
    type=click.Path(path_type=Path),
    default=HOME,
    help="Folder that `benchmark peers` made. [default: build/peers]",
)
"""For benchmarks that compare with peers."""

Run = Callable[[Sequence[str], Path], int]


def find_peer(name: str, home: Path) -> Path | None:
    """Return the Python of a peer's finished environment under `home`; None if there is none."""
    folder = home.absolute() / name
    made = (folder / STAMP).is_file() and (folder / STAMP).read_text(encoding="utf-8") == PEERS[name].stamp
    return folder / "bin" / "python" if made else None


def run_logged(command: Sequence[str], log: Path) -> int:
    """Run a command, its output appended to `log`; return its exit code."""
    with log.open("ab") as file:
        # Without our PYTHONPATH. albumentations, which img2dataset uses, must not ask the network for updates.
        environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False).returncode


def make_peer(peer: Peer, home: Path, *, run: Run = run_logged) -> Path:
    """Make a peer's environment under `home`, unless it exists, and return its folder.

    The stamp is written last, so an interrupted build starts again. Raises `FreelightError` with what must be installed
    first, or with the last error in the log.
    """
    folder = home.absolute() / peer.name
    if find_peer(peer.name, home):
        return folder
    _require(peer)
    home.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    (folder / STAMP).unlink(missing_ok=True)
    python = str(folder / "bin" / "python")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install")
    proof = "; ".join(f"import {module}" for module in peer.imports)
    steps: list[Sequence[str]] = [
        (sys.executable, "-m", "venv", "--clear", str(folder)),
        *((*pip, *words.split()) for words in peer.installs),
        (python, "-c", proof),
    ]
    for step in steps:
        if run(step, log):
            raise FreelightError(f"{' '.join(step)} failed: {_last_error(log)} (log: {log})")
    with atomic_write(folder / STAMP) as file:
        file.write(peer.stamp.encode())
    return folder


def _require(peer: Peer) -> None:
    """Raise `FreelightError` if the compiler or a library that a build needs is missing."""
    if not peer.packages:
        return
    missing = [] if shutil.which(os.environ.get("CXX", "c++")) else ["a C++ compiler"]
    if shutil.which("pkg-config"):
        missing += [
            name for name in peer.libraries if subprocess.run(["pkg-config", "--exists", name], check=False).returncode
        ]
    else:
        missing.append("pkg-config")
    if missing:
        raise FreelightError(
            f"its build needs {', '.join(missing)}; on Debian run: apt-get install {' '.join(peer.packages)}"
        )


def _last_error(log: Path) -> str:
    """Return the last line of the log that contains "error", or its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "-")


@click.command(
    name="peers",
    cls=Command,
    groups={"Result": "peers quiet json"},
    examples=(
        "freelight benchmark peers",
        "freelight benchmark peers torchvision --peers ~/peers",
    ),
)
@click.argument("names", nargs=-1, type=click.Choice(list(PEERS)), metavar="[NAME]...")
@click.option(
    "--peers",
    "home",
    type=click.Path(path_type=Path, file_okay=False),
    default=HOME,
    help="Folder for the environments. [default: build/peers]",
)
@with_output
@reports_errors
def command(names: tuple[str, ...], home: Path) -> None:
    """Make the virtual environments of the software that benchmarks compare with.

    Without names, all of them: torchvision, ffcv, streaming and img2dataset. Existing ones are not changed. Exit code
    1: one could not be made.
    """
    made: dict[str, str | None] = {}
    lines = []
    for name in names or tuple(PEERS):
        made[name] = str(home / name)
        if find_peer(name, home):
            lines.append(f"{name}: exists in {home / name}")
            continue
        if not is_quiet():
            say(f"{name}: installing (log: {home / name}.log)", err=True)
        try:
            lines.append(f"{name}: installed in {make_peer(PEERS[name], home)}")
        except FreelightError as error:
            made[name] = None
            say(f"{name}: not installed: {error}", err=True)
    say_result(lines, {"peers": made})
    sys.exit(1 if None in made.values() else 0)
