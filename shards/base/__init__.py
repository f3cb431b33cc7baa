"""What every package needs: errors, atomic writes, locks, executors, facts of the machine, and the console."""

from .atomic import TEMPORARY_SUFFIX, atomic_write, fsync_folder
from .console import OutputFile, counting_images, format_table, progress, reports_errors, watch_counts, with_cache
from .errors import FreelightError
from .executor import run_tasks
from .locks import lock_file
from .machine import cpu_model, memory_gb
from .names import check_plain_name

__all__ = [
    "TEMPORARY_SUFFIX",
    "FreelightError",
    "OutputFile",
    "atomic_write",
    "check_plain_name",
    "counting_images",
    "cpu_model",
    "format_table",
    "fsync_folder",
    "lock_file",
    "memory_gb",
    "progress",
    "reports_errors",
    "run_tasks",
    "watch_counts",
    "with_cache",
]
