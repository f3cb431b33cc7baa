"""What all commands share: printing, errors, text tables, and common options."""

import functools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from .byte_counts import ByteCount
from .disk import describe_os_error
from .errors import FreelightError
from .fetching import FETCH_TIMEOUT
from .processes import exits_on_sigterm

_QUIET, _JSON = "freelight.quiet", "freelight.json"
"""Keys of what a command's context keeps."""
P = ParamSpec("P")
R = TypeVar("R")


# Control characters but tab and line break, marks and overrides of the writing direction, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return `text` with the characters that a terminal would act on, or cannot show, as JSON escapes.

    Names of files, classes and checkpoints may hold them.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str, *, err: bool = False) -> None:
    """Print lines of text, made printable, to standard output or standard error. All that commands print goes here.

    With `--quiet` or `--json`, nothing goes to standard output but what `say_result` prints.
    """
    if err or not (is_quiet() or is_json()):
        click.echo(printable(text), err=err)


def say_result(text: str | Iterable[str], content: Any) -> None:
    """Print what a command found: lines of text; with `--json`, `content` as JSON; with `--quiet` alone, nothing."""
    if is_json():
        click.echo(printable(json.dumps(content, indent=1)))
    else:
        say(text if isinstance(text, str) else "\n".join(text))


def is_quiet() -> bool:
    """Tell whether the running command was given `--quiet`."""
    return _has(_QUIET)


def is_json() -> bool:
    """Tell whether the running command was given `--json`."""
    return _has(_JSON)


def _has(flag: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(flag))


def with_quiet(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command with `--quiet`."""
    return _flag("--quiet", _QUIET, "Print neither progress nor result; errors and the exit code stay.")(command)


def with_output(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command that ends in `say_result` with `--quiet` and `--json`."""
    return with_quiet(_flag("--json", _JSON, "Print the result as one JSON document.")(command))


def _flag(option: str, name: str, text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def note(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[name] = value

    return click.option(option, is_flag=True, expose_value=False, callback=note, help=text)


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: a `FreelightError` or an `OSError` becomes one line on stderr and exit code 2.

    SIGTERM ends it in order, with exit code 143.

    The library names arguments: "`val_fraction` (=2) must ...". The line names the options: "--val-fraction (=2) must
    ...". So a click parameter whose option is named otherwise has the argument's name as its second name:
    `click.option("--checkpoint", "checkpoints")`.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # the caller closed it (`>&-`), but joblib needs one
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # open until the process ends
        try:
            with exits_on_sigterm(), _saying_warnings():
                return command(*args, **kwargs)
        except BrokenPipeError:  # `| head`: click ends quietly
            raise
        except FreelightError as error:
            context = click.get_current_context(silent=True)
            line = name_options(str(error), context.command.params if context else ())
        except OSError as error:
            line = describe_os_error(error)
        with suppress(OSError):  # standard error may be a file on a full disk
            say("error: " + line.replace("\n", "\\n"), err=True)
        sys.exit(2)

    return run


class _Say(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if is_quiet() and record.levelno < logging.WARNING:
            return
        with suppress(OSError):
            say(self.format(record), err=True)


@contextmanager
def _saying_warnings() -> Iterator[None]:
    """Print what the library logs through `say`: it names files and URLs too."""
    logger, handler = logging.getLogger(__name__.partition(".")[0]), _Say()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def name_options(message: str, parameters: Iterable[click.Parameter]) -> str:
    """Replace each name in backticks that is one of `parameters` by its option, or by an argument's metavar.

    Other names in backticks stay as they are. If an option has several spellings, the longest is used.
    """
    typed = {
        parameter.name: parameter.human_readable_name
        if isinstance(parameter, click.Argument)
        else max(parameter.opts, key=len)
        for parameter in parameters
    }
    return re.sub(r"`(\w+)`", lambda found: typed.get(found[1], found[0]), message)


class JSONObject(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A JSON object, as a dict."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the dict. Raises `click.BadParameter` for anything else."""
        with suppress(ValueError, RecursionError):
            found = json.loads(value) if isinstance(value, str) else value
            if isinstance(found, dict):
                return found
        # The value is not shown: it may hold keys.
        raise click.BadParameter('it is not a JSON object, such as {"endpoint_url": "https://..."}', ctx, param)


storage_options = click.option(
    "--storage-options",
    type=JSONObject(),
    metavar="JSON",
    help="Arguments of fsspec's file system for a URL, beside fsspec's own configuration: "
    '\'{"endpoint_url": "https://..."}\'.',
)


def with_cache(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command whose --shards may be a URL: `cache`, the local folder for shards, `cache_bytes`,
    `fetch_timeout` and `storage_options`.
    """
    for option in (
        storage_options,
        click.option(
            "--fetch-timeout",
            type=click.FloatRange(0),
            default=FETCH_TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="Give up when a part of a shard, 8 MB, does not come for this long, with all tries.",
        ),
        click.option(
            "--cache-bytes",
            type=ByteCount(),
            default="100GB",
            show_default=True,
            help="Maximum size of the cache, in bytes or with a unit.",
        ),
        click.option(
            "--cache", type=click.Path(path_type=Path), help="Local folder for the shards of a dataset behind a URL."
        ),
    ):
        command = option(command)
    return command


class OutputFile(click.Path):
    """A file that a command will write. Checked before the work begins: its folder must exist.

    suffixes: the endings that its name may have; without one, any.
    """

    name = "file"

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path. Raises `click.BadParameter` for another suffix or a missing folder."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self.suffixes and path.suffix not in self.suffixes:
            self.fail(f"{path} must end in {' or '.join(self.suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}; make it first", param, ctx)
        return path


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 shard`, `2 shards`, or `2 classes` with a plural of its own."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table. The first and the last column are aligned to the left, the others to the right."""
    header, *rows = ([printable(cell) for cell in row] for row in (header, *rows))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)
