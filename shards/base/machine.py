"""Facts of this machine that measurements depend on."""

import os
import platform
from pathlib import Path


def cpu_model() -> str:
    """Return the CPU's name, or its architecture if the system does not give the name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gb() -> float:
    """Return the size of the machine's memory, GB (1e9 bytes)."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
