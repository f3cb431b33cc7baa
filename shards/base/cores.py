"""CPU cores of this process, and the options `--workers` and `--threads`."""

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import click

from .arguments import whole_number

P = ParamSpec("P")
R = TypeVar("R")

CountOrAuto = int | Literal["auto"]
"""A number of threads or processes; `auto` depends on the usable cores."""

MOST_THREADS, MOST_AUTOMATIC = 4096, 16
"""Limits of threads per process: of a given number, and of `auto`."""


def usable_cores() -> int:
    """Return how many CPU cores this process may use: those of its affinity mask, at most its cgroup's CPU quota.

    Python's own functions do not read the quota, so this is joblib's count; `LOKY_MAX_CPU_COUNT` limits it further.
    """
    from joblib import cpu_count  # here, because joblib takes long to import

    return int(cpu_count())


def decoding_threads(num_threads: CountOrAuto, processes: int) -> int:
    """Return the number of decoding threads of one of `processes` processes on this machine.

    Raises `FreelightError` for anything but `auto` and a whole number in 1..4096.
    """
    if num_threads == "auto":
        return automatic_threads(usable_cores(), processes)
    return whole_number("num_threads", num_threads, least=1, most=MOST_THREADS)


def automatic_threads(cores: int, processes: int) -> int:
    """Return a process's share of the cores: at least 1, at most 16."""
    return min(max(1, cores // processes), MOST_AUTOMATIC)


class _CountParameter(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A whole number or `auto`."""

    name = "integer or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CountOrAuto:
        """Return the number, or `auto`. Raises `click.BadParameter` for anything else."""
        if value == "auto":
            return "auto"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor auto", param, ctx)


def with_threads(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command with `--threads`, its argument `num_threads`: a number, or `auto`."""
    return click.option(
        "--threads",
        "num_threads",
        type=_CountParameter(),
        default="auto",
        show_default=True,
        metavar="N",
        help="CPU threads that decode JPEGs, per process; auto: its share of this machine's cores, at most 16.",
    )(command)


def with_workers(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command with `--workers`: a number, or `auto`."""
    return click.option(
        "--workers",
        type=_CountParameter(),
        default="auto",
        show_default=True,
        metavar="N",
        help="Worker processes; auto: one per core, at most one per shard. The result does not depend on it.",
    )(command)
