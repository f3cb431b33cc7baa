"""A library error names arguments; the command line shows the options that were typed."""

import json
import logging
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from freelight.shards import FreelightError
from freelight.shards.base.console import format_table, printable, reports_errors, say


@click.command()
@click.argument("images", nargs=-1)
@click.option("--val-fraction", type=float)
@click.option("--checkpoint", "checkpoints", multiple=True)
@click.option("-n", "--nearest", type=int)
@click.option("--compile/--no-compile", "compile_")
@click.option("--message", required=True)
@click.option("--missing-file", is_flag=True)
@reports_errors
def command(message: str, missing_file: bool, **others: object) -> None:
    raise OSError(message) if missing_file else FreelightError(message)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("`val_fraction` (=2) must lie between 0 and 1", "--val-fraction (=2) must lie between 0 and 1"),
        ("give `checkpoints` or `nearest`", "give --checkpoint or --nearest"),
        ("`images` is empty", "IMAGES is empty"),
        ("`compile_` needs a compiler", "--compile needs a compiler"),
        ("`learning_rate` (=0) must be positive", "`learning_rate` (=0) must be positive"),
        ("val_fraction and `val fraction` are no names", "val_fraction and `val fraction` are no names"),
    ],
)
def test_an_argument_in_backticks_becomes_the_option_in_one_line_with_exit_code_2(message: str, line: str) -> None:
    """The longest spelling of the option, also if the argument has another name; other names stay."""
    result = CliRunner().invoke(command, ["--message", message])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {line}\n")


def test_an_error_of_the_operating_system_is_shown_as_it_is() -> None:
    """It may hold a file name with backticks."""
    result = CliRunner().invoke(command, ["--missing-file", "--message", "no file `nearest`"])
    assert (result.exit_code, result.stderr) == (2, "error: no file `nearest`\n")


def test_outside_a_command_the_names_stay(capsys: pytest.CaptureFixture[str]) -> None:
    @reports_errors
    def function() -> None:
        raise FreelightError("`nearest` (=0) must be at least 1")

    with pytest.raises(SystemExit, match="2"):
        function()
    assert capsys.readouterr().err == "error: `nearest` (=0) must be at least 1\n"


HOSTILE = "\x1b]0;title\x07 \x1b[31mred\r \x9b1m \u202egpj \u2066 \udcff"
SHOWN = r"\u001b]0;title\u0007 \u001b[31mred\u000d \u009b1m \u202egpj \u2066 \udcff"


def test_what_a_terminal_would_act_on_is_escaped_and_other_text_stays() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("crane, žába 鶴 🦩\n\ttabbed") == "crane, žába 鶴 🦩\n\ttabbed"
    assert json.loads(printable(json.dumps({"name": HOSTILE}))) == {"name": HOSTILE}


def test_an_error_is_one_printable_line_whatever_names_it_holds() -> None:
    result = CliRunner().invoke(command, ["--message", f"{HOSTILE}\nerror: another"])
    assert result.stderr == f"error: {SHOWN}\\nerror: another\n"


def test_a_table_is_aligned_by_what_is_printed() -> None:
    first, second, third = format_table(("class", "error"), [("\x1b[5m", "1 %"), ("cat", "2 %")]).splitlines()
    assert second == r"\u001b[5m  1 %"
    assert first.index("error") == second.index("1 %") == third.index("2 %")


def test_bytes_of_a_name_that_are_no_utf8_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    say(os.fsdecode(b"caf\xe9"))
    assert capsys.readouterr().out == "caf\\udce9\n"


def test_commands_and_the_trainer_print_through_say_alone() -> None:
    """Progress bars write their own control characters; benchmarks and the reader of synsets write JSON to pipes.

    Where Freelight is not installed, there is no `say`.
    """
    root = Path(__file__).parents[2]
    folders = [
        root / name for name in ("shards", "pipeline", "train", "tools/freelight/commands", "tools/freelight/claims")
    ]
    prints = [
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\bclick\.echo\(|(?<![\w.])print\(|\.stdout\.write\(|\.stderr\.write\(", line)
    ]
    own = ("shards/base/console.py", "train/progress.py", "shards/layouts/synsets_reader.py")
    own += ("tools/freelight/commands/__init__.py",)
    assert [line for line in prints if not line.startswith(own)] == []


def test_what_the_library_logs_is_printed_once_and_made_printable(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest would keep the raw text for its report, which xdist cannot send: it is not UTF-8.
    monkeypatch.setattr(logging.getLogger("freelight"), "propagate", False)

    @reports_errors
    def function() -> None:
        logging.getLogger("freelight.shards.base.store").warning("trying again: %s", HOSTILE)

    function()
    function()
    assert capfd.readouterr().err == f"trying again: {SHOWN}\n" * 2
