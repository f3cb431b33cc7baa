"""Peak memory of processes, as the kernel records it in /proc.

`ru_maxrss` is not used, because it survives exec: a worker would report the peak of the process that started it.
"""

import os
from pathlib import Path


def children() -> set[int]:
    """Return the ids of the running child processes."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for listed in lists for child in listed.read_text(encoding="ascii").split()}


def peak_memory_mb(process: int | None = None) -> float:
    """Return the peak resident memory of a process (default: this one), in MB of 10^6 bytes; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process or os.getpid()}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    marks = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]  # kB of 1,024 bytes
    return int(marks[0][1]) * 1024 / 1e6 if marks else 0.0
