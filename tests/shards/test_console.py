"""A library error names arguments; the command line shows the options that were typed."""

import click
import pytest
from click.testing import CliRunner

from freelight.shards import FreelightError
from freelight.shards.base.console import reports_errors


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
