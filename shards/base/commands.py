"""`Command`: a click command whose help shows options in groups, and examples."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

_ARGUMENTS = "freelight.arguments"
"""Key of what a command's context keeps."""


class Command(click.Command):
    """A command that shows its options in groups, ends its help with examples, and keeps its arguments as typed.

    groups: from a title to the names of options without dashes, separated by spaces, in the order shown; options
    without a group come last. examples: lines as one types them.
    """

    def __init__(
        self, *arguments: Any, groups: Mapping[str, str] | None = None, examples: Sequence[str] = (), **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.groups = dict(groups or {})
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and keep them for `typed_command`."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        records = {
            max(parameter.opts, key=len).lstrip("-"): record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None
        }
        own_help = records.pop("help")
        sections = {title: [records.pop(name) for name in names.split()] for title, names in self.groups.items()}
        if records or not sections:
            sections["Further options" if sections else "Options"] = list(records.values())
        sections[list(sections)[-1]].append(own_help)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own that can be copied."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def options_of(function: Any) -> str:
    """Return the names of the options that decorators gave a function, in the order written, as `Command` takes them.

    Of arguments there are none: they stand in the first line of the help.
    """
    added = reversed(getattr(function, "__click_params__", []))
    return " ".join(max(one.opts, key=len).lstrip("-") for one in added if isinstance(one, click.Option))


def typed_command() -> str:
    """Return the line by which the running command was called, without passwords of URLs and options of stores."""
    context = click.get_current_context()
    words, typed = [], context.meta[_ARGUMENTS]
    for before, word in zip(("", *typed), typed, strict=False):
        hides = word.startswith("--storage-options=")  # they may hold keys
        words.append("--storage-options=***" if hides else "***" if before == "--storage-options" else word)
    line = f"{context.command_path} {shlex.join(words)}"
    return re.sub(r"(\w://[^/\s:@]*):[^/\s@]*@", r"\1:***@", line)
