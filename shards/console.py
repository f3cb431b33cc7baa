"""What every command does with its progress and its errors."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec, TypeVar

import click

from .errors import FreelightError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: a `FreelightError` or an `OSError` becomes one line on stderr and exit code 2."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:  # `| head`: click ends quietly
            raise
        except (FreelightError, OSError) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)

    return run


def progress(items: Iterable[T], *, length: int, label: str, weight: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
    """Yield `items` while a bar on stderr advances by `weight(item)` of `length` for each.

    Off a terminal only the label is printed, so that logs stay short.
    """
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True) as bar:
        for item in items:
            yield item
            bar.update(weight(item))
