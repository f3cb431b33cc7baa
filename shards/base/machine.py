"""What this machine is, for numbers that depend on it."""

import os
import platform
from pathlib import Path


def cpu_model() -> str:
    """Return the CPU's name, or its architecture where the system does not say."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gb() -> float:
    """Return the memory there is, GB (1e9 bytes)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
