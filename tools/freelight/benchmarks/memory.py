"""Peak memory of processes, from the kernel's own mark.

`ru_maxrss` is the same mark, except that it survives exec: a worker started by a large process would inherit its peak.
"""

import os
from pathlib import Path


def children() -> set[int]:
    """Return the ids of the processes that this one has started and that still run."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for listed in lists for child in listed.read_text(encoding="ascii").split()}


def peak_memory_mb(process: int | None = None) -> float:
    """Return the largest resident memory that a process (default: this one) has had, in MB of 10^6 bytes.

    0 when the process has ended.
    """
    try:
        status = Path(f"/proc/{process or os.getpid()}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    marks = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]  # kB of 1,024 bytes
    return int(marks[0][1]) * 1024 / 1e6 if marks else 0.0
