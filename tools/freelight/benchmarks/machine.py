"""What a measurement depends on: machine, versions, revision, date and other work."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from freelight import __version__
from freelight.shards.base import cpu_model, memory_gb

_TOP = Path(__file__).resolve().parents[3]
CHECKOUT = _TOP if (_TOP / "setup.cfg").is_file() else None
"""The checkout that this code is in; None when it is installed from a wheel."""

DALI_WHEEL = "nvidia-dali"


def machine_facts(distributions: Sequence[str]) -> dict[str, Any]:
    """Return CPU model, usable cores, threads of torch, memory (GB), load average, versions, revision, date.

    distributions: whose versions are wanted; `DALI_WHEEL` stands for the wheel of it that is installed.
    """
    return {
        "cpu": cpu_model(),
        "cores": (cores := len(os.sched_getaffinity(0))),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or cores),
        "memory_gb": round(memory_gb(), 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"freelight": __version__, **dict(map(_version, distributions))},
        "revision": _revision(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(distribution: str) -> tuple[str, str]:
    """Return a distribution's name and version."""
    if distribution == DALI_WHEEL:  # one of several wheels, by the version of CUDA
        distribution = next(
            found.name for found in metadata.distributions() if found.name.startswith("nvidia-dali-cuda")
        )
    return distribution, metadata.version(distribution)


BUSY_PERCENT = 15
"""Other work that uses more of the processors before or after a measurement can disturb it."""


def other_work(seconds: float = 0.15) -> float:
    """Return the share of all processors' time that is used while this process sleeps, %.

    The load average cannot tell: it still has this process's own work of the last minute.
    """
    before = _processor_times()
    time.sleep(seconds)
    busy, total = (after - start for after, start in zip(_processor_times(), before, strict=True))
    return round(100 * busy / max(total, 1), 1)


class OtherWork:
    """Measures the work of others from its making on: all but this process and those that it started and waited for."""

    def __init__(self) -> None:
        self._before = _processor_times(), _own_ticks()

    def percent(self) -> float:
        """Return the share of all processors' time that others have used until now, %."""
        (busy, total), own = _processor_times(), _own_ticks()
        (busy_before, total_before), own_before = self._before
        others = busy - busy_before - (own - own_before)
        return round(100 * max(others, 0) / max(total - total_before, 1), 1)


def _own_ticks() -> float:
    """Return the processor time of this process and of the children that it waited for, in clock ticks."""
    used = os.times()
    seconds = used.user + used.system + used.children_user + used.children_system
    return seconds * os.sysconf("SC_CLK_TCK")


def _processor_times() -> tuple[int, int]:
    """Return the time used and all time of the processors since the start of the system, in clock ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]  # idle, and waiting for a disk
    return sum(ticks) - idle, sum(ticks)


def _revision() -> str:
    """Return the commit of the checkout, with a + when files differ from it; "unknown" without a checkout."""
    if CHECKOUT is None:
        return "unknown"
    git = ("git", "-C", str(CHECKOUT), "--no-optional-locks")
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if status.stdout else "")
