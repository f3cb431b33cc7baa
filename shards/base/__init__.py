"""What every package needs: errors, atomic writes, checked arguments and reads, locks, executors, the console."""

from .arguments import check_fields, instance_of, whole_number
from .arrays import Array, map_array, read_array, read_arrays
from .atomic import TEMPORARY_SUFFIX, atomic_write, fsync_folder
from .console import OutputFile, counting_images, format_table, progress, reports_errors, watch_counts, with_cache
from .disk import describe_os_error, naming_file
from .errors import FreelightError
from .executor import run_tasks
from .locks import lock_file
from .machine import cpu_model, memory_gb
from .validation import (
    Check,
    Mismatch,
    anything,
    check,
    flag,
    integer,
    list_of,
    mapping,
    must_be,
    nullable,
    number,
    one_of,
    open_regular,
    parse_json,
    plain_name,
    read_json,
    read_limited,
    record,
    sha256_text,
    text,
)

__all__ = [
    "TEMPORARY_SUFFIX",
    "Array",
    "Check",
    "FreelightError",
    "Mismatch",
    "OutputFile",
    "anything",
    "atomic_write",
    "check",
    "check_fields",
    "counting_images",
    "cpu_model",
    "describe_os_error",
    "flag",
    "format_table",
    "fsync_folder",
    "instance_of",
    "integer",
    "list_of",
    "lock_file",
    "map_array",
    "mapping",
    "memory_gb",
    "must_be",
    "naming_file",
    "nullable",
    "number",
    "one_of",
    "open_regular",
    "parse_json",
    "plain_name",
    "progress",
    "read_array",
    "read_arrays",
    "read_json",
    "read_limited",
    "record",
    "reports_errors",
    "run_tasks",
    "sha256_text",
    "text",
    "watch_counts",
    "whole_number",
    "with_cache",
]
