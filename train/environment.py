"""The machine and the library versions of a run, noted in its folder: its numbers depend on them too."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import nvidia.dali
import PIL
import torch

from .. import __version__
from ..shards.base import atomic_write, cpu_model, mapping, memory_gb, read_json, text

ENVIRONMENT = "environment.json"
MAX_BYTES = 1 << 20
"""Maximum size of the file, bytes."""


def describe_environment() -> dict[str, str]:
    """Return CPU, GPUs, system, versions and date, as text for people."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "CPU": f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores usable, {memory_gb():.0f} GB",
        "GPU": ", ".join(gpus) or "none",
        "system": platform.platform(),
        "versions": (
            f"freelight {__version__}, Python {platform.python_version()}, "
            f"torch {torch.__version__}, DALI {nvidia.dali.__version__}, NumPy {np.__version__}, "
            f"Pillow {PIL.__version__}"
        ),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_threads(decoding: int, processes: int) -> str:
    """Return the threads of each process, as text. decoding: threads that decode. processes: of the run."""
    each = f" in each of {processes} processes" if processes > 1 else ""
    return f"{decoding} decode, {torch.get_num_threads()} compute{each}"


def note_environment(run: Path, *, threads: str) -> None:
    """Write the environment into a run's folder; a resumed run keeps the latest. threads: as `describe_threads`."""
    with atomic_write(run / ENVIRONMENT) as file:
        file.write(json.dumps({**describe_environment(), "threads": threads}, indent=1).encode())


def read_environment(run: Path) -> dict[str, str] | None:
    """Return the environment that a run noted; None if it has none. Raises `FreelightError` if it is damaged."""
    try:
        noted: dict[str, str] = read_json(run / ENVIRONMENT, mapping(text()), remedy="delete it", limit=MAX_BYTES)
    except FileNotFoundError:
        return None
    return noted
