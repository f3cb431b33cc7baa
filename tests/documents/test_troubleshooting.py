"""Every error and warning that the sources print has a section with cause, check and command on one page."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import click
import pytest
from printed_messages import HOLE, ROOT, Message, messages, messages_of

from freelight.cli import SHORT_HELPS

PAGE = ROOT / "docs/guides/troubleshooting.md"
PARTS = ("Cause", "Check", "Command")
SELF_EXPLANATORY = (f"{HOLE} must {HOLE}", f"{HOLE} is not one of {HOLE}")
"""Lines of the page that cover a refused value. A message with a remedy of its own, after `;`, needs its own line."""

OPTIONS = {
    "checkpoints": "checkpoint",
    "earlier": "from",
    "copy": "from",
    "fields": "field",
    "settings": "set",
    "splits": "split",
}
"""Options that have another name than their argument."""


def sections() -> dict[str, str]:
    """Return the text of each section by its heading."""
    _, *rest = re.split(r"^#{2,3} (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    texts = dict(zip(rest[::2], rest[1::2], strict=True))
    return {heading: text for heading, text in texts.items() if text.strip()}


def lines_of(text: str) -> list[str]:
    """Return the lines of Freelight that a section explains; those of other software say who prints them."""
    return [code.removeprefix("error: ") for code in re.findall(r"^\* `(.+)`$", text, re.MULTILINE)]


@cache
def normal(text: str) -> str:
    """Write arguments as options, because a command prints one for the other."""
    return re.sub("`([a-z_]+|…)`", lambda found: f"--{OPTIONS.get(found[1], found[1]).replace('_', '-')}", text)


@cache
def pattern(text: str) -> re.Pattern[str]:
    """Return what matches a text with anything for each `…`."""
    return re.compile(".*".join(map(re.escape, normal(text).split(HOLE))))


def explains(line: str, message: Message) -> bool:
    """Tell whether a line of the page is that message: `…` of either stands for anything in the other."""
    if line in SELF_EXPLANATORY and ";" in message.text:
        return False
    if pattern(line).fullmatch(normal(message.text)):
        return True
    return is_telling(message) and pattern(message.text).fullmatch(normal(line)) is not None


@cache
def is_telling(message: Message) -> bool:
    """Tell whether the fixed words of a message are enough to recognise it."""
    return len(re.findall("[a-z]", message.text)) >= 8


def unexplained(found: list[Message], lines: list[str]) -> list[Message]:
    return [message for message in found if not any(explains(line, message) for line in lines)]


LINES = [line for text in sections().values() for line in lines_of(text)]


def test_every_error_and_warning_has_a_section() -> None:
    assert unexplained(messages(), LINES) == []


def test_planted_messages_are_found_and_have_no_section(tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text('REMEDY = "turn it off and on"\n')
    source = tmp_path / "planted.py"
    source.write_text(
        "from .texts import REMEDY\n"
        "if broken:\n"
        "    raise FreelightError(\n"
        '        f"{name} is upside " "down; "\n'
        '        f"{REMEDY}"\n'
        "    )\n"
        'remedy = "shake it" if small else "kick it"\n'
        'logger.warning("%s squeaks; oil it", door)\n'
    )
    found = list(messages_of(source))
    texts = ["… is upside down; turn it off and on", "…; shake it", "…; kick it", "… squeaks; oil it"]
    assert [message.text for message in found] == texts
    assert unexplained(found, LINES) == found
    assert unexplained(found, ["… is upside down; …", "…; shake it"]) == found[2:]


def test_every_line_of_the_page_is_printed_by_the_sources() -> None:
    assert [line for line in LINES if not any(explains(line, message) for message in messages())] == []


@pytest.mark.parametrize("heading", sections())
def test_a_section_has_lines_a_cause_a_check_and_a_command(heading: str) -> None:
    text = sections()[heading]
    assert re.search(r"^\* .*`", text, re.MULTILINE), "no message"
    for part in PARTS:
        (content,) = re.findall(rf"^\*\*{part}\.\*\* (.+?)(?=^\*\*|\Z)", text, re.MULTILINE | re.DOTALL)
        assert part == "Cause" or "`" in content, f"{part} has no command"
    for printed in re.findall(r"^(?:error|warning): .+$", text, re.MULTILINE):
        assert any(pattern(line).fullmatch(normal(printed.removeprefix("error: "))) for line in lines_of(text))


@pytest.mark.slow
def test_the_page_names_options_that_the_commands_have() -> None:
    """Checks and commands in sentences are not run, because they name files of the reader."""
    spans = re.findall(r"`((?:freelight|train) [^`]+)`", PAGE.read_text())
    assert len(spans) > 30
    wrong = []
    for span in spans:
        words = re.split(r"[\s|&]+", span.removeprefix("freelight "))
        if words[0] in SHORT_HELPS:
            known = {
                option
                for parameter in command_named(words[0]).params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
            wrong += [f"{span}: {word}" for word in words if word.startswith("--") and word not in {*known, "--help"}]
    assert wrong == []


def command_named(name: str) -> click.Command:
    command: click.Command = import_module(f"freelight.commands.{name.replace('-', '_')}").command
    return command
