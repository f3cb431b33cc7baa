"""Long work is never silent: where there is no terminal, a line every 30 s says what is done and how long it takes."""

import json
import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from freelight.shards.base import counted, duration, progress, say, say_result, with_output


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freelight.shards.base.watching.LINE_EVERY", 0.0)


@click.command()
@click.option("--known/--unknown", default=True)
@with_output
def command(known: bool) -> None:
    say("on the way")
    done = sum(progress([1000, 3000], length=4000 if known else None, label="images", weight=lambda count: count))
    say_result([f"{done} images", "as said"], {"images": done})


def test_without_a_terminal_a_line_says_how_much_is_done_at_what_rate_and_the_time_left(
    often: None,
) -> None:
    result = CliRunner().invoke(command)
    assert result.stdout == "on the way\n4000 images\nas said\n"
    first, last = result.stderr.splitlines()
    assert re.fullmatch(r"images: 1,000 of 4,000, \d+/s, 0 s left", first)
    assert re.fullmatch(r"images: 4,000 of 4,000, \d+/s, 0 s left", last)
    unknown = CliRunner().invoke(command, ["--unknown"]).stderr
    assert re.fullmatch(r"images: 1,000, \d+/s\nimages: 4,000, \d+/s\n", unknown)


def test_quick_work_is_silent_and_nothing_of_it_is_lost() -> None:
    result = CliRunner().invoke(command)
    assert (result.stdout, result.stderr) == ("on the way\n4000 images\nas said\n", "")


def test_quiet_prints_nothing_and_json_one_document_beside_the_progress(often: None) -> None:
    quiet, as_json = (CliRunner().invoke(command, [word]) for word in ("--quiet", "--json"))
    both = CliRunner().invoke(command, ["--quiet", "--json"])
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert json.loads(as_json.stdout) == {"images": 4000}
    assert "images: 1,000 of 4,000" in as_json.stderr
    assert (json.loads(both.stdout), both.stderr) == ({"images": 4000}, "")


def test_the_library_shows_progress_without_a_command(often: None, capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[int]:
        yield from (1, 1)

    assert list(progress(items(), length=2, label="x")) == [1, 1]
    assert capsys.readouterr().err.startswith("x: 1 of 2, ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (5400, "1 h 30 min"), (129600, "1 d 12 h")],
)
def test_a_duration_has_one_or_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_is_singular() -> None:
    assert [counted(number, "shard") for number in (0, 1, 2)] == ["0 shards", "1 shard", "2 shards"]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
