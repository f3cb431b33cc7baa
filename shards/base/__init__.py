"""What every package needs: errors, atomic writes, locks, executors, and what all commands share."""

from .atomic import atomic_write
from .console import OutputFile, columns, counting_images, progress, reports_errors, watch_counts, with_cache
from .errors import FreelightError
from .locks import lock_file
from .machine import cpu_model, memory_gb

__all__ = [
    "FreelightError",
    "OutputFile",
    "atomic_write",
    "columns",
    "counting_images",
    "cpu_model",
    "lock_file",
    "memory_gb",
    "progress",
    "reports_errors",
    "watch_counts",
    "with_cache",
]
