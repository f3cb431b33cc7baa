"""The processes of an evaluation: replicas of a network take batches in turns, one or two processes hold each."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import click

from ...pipeline.ranks import Ranks, local_processes
from ...shards.base import CountOrAuto, check_fields, decoding_threads, with_threads
from ..parallel.launch import Work, launch

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """columns, replicas, backend: as of `launch`. num_threads: CPU threads that decode, per process, as of `Loader`.

    compile_: compile the response normalisation; None compiles it if that pays, see `inference`.
    """

    columns: int = 1
    replicas: int | None = None
    backend: str | None = None
    num_threads: CountOrAuto = "auto"
    compile_: bool | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def threads(self) -> str:
        """How many threads decode, as text."""
        count = self.columns * self.replicas if self.replicas else max(1, int(os.environ.get("WORLD_SIZE") or 0))
        decoding = decoding_threads(self.num_threads, local_processes(Ranks(0, count)))
        return f"{decoding} decode" + (f" in each of {count} processes" if count > 1 else "")

    def run(self, work: Work, *, remedy: str) -> bool:
        """Call `work` in every process, see `launch`; return whether this process is to report what they did.

        That is false in processes of torchrun other than rank 0. Ends this process if a signal stopped the work.
        """
        stopped = launch(work, columns=self.columns, replicas=self.replicas, backend=self.backend, remedy=remedy)
        if stopped:
            sys.exit(128 + stopped)
        if is_reporting():
            logging.getLogger(__name__).info("threads: %s", self.threads)
        return is_reporting()


def is_reporting() -> bool:
    """Tell whether this process reports: the only one of a command, or rank 0 of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def with_processes(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command with the fields of `Processes`: --columns, --replicas, --backend, --threads, --compile."""
    for option in (
        click.option(
            "--compile/--no-compile",
            "compile_",
            default=None,
            help="Compile the response normalisation, which takes 8 s. [default: from 20,000 views on]",
        ),
        with_threads,
        click.option(
            "--backend",
            type=click.Choice(["nccl", "gloo"]),
            help="Communication between processes. [default: nccl on GPUs, gloo on the CPU]",
        ),
        click.option(
            "--replicas",
            type=click.IntRange(1),
            help="Copies of the network, which take batches in turns; the results do not depend on their number. "
            "[default: 1; under torchrun, as many as it started]",
        ),
        click.option(
            "--columns",
            type=click.IntRange(1, 2),
            default=1,
            show_default=True,
            help="Processes (GPUs) per network; with 2, each holds one of its columns.",
        ),
    ):
        command = option(command)
    return command
