"""What a measurement depends on: machine, versions, revision and date."""

import os
import platform
import subprocess
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


def machine_facts(distributions: Sequence[str]) -> dict[str, Any]:
    """Return CPU model, usable cores, memory (GB), load average, versions, git revision (+: changed files), date."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_gb(), 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"freelight": __version__, **{name: metadata.version(name) for name in distributions}},
        "revision": _revision(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
