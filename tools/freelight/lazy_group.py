"""A group of commands that imports a sub-command when it is named: importing all of them takes seconds."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """Commands in the modules of a package. The command `make-shards` is `command` of the module `make_shards`.

    short_helps: name to short help, in the order of `--help`. Help and completion read it and import nothing.
    """

    def __init__(self, *, package: str, short_helps: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.package = package
        self.short_helps = short_helps

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.short_helps)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the command of that name. None if there is none."""
        if name not in self.short_helps:
            return None
        try:
            command: click.Command = import_module(f"{self.package}.{name.replace('-', '_')}").command
        except ImportError as error:
            from freelight.shards.base import UnusablePackageError, say  # here, because --help needs neither

            if not isinstance(error, UnusablePackageError):
                raise
            say(f"error: {error}", err=True)
            sys.exit(2)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands for `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.short_helps.items()))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, or an option of the group itself."""
        names = [
            CompletionItem(name, help=short_help)
            for name, short_help in self.short_helps.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, context, incomplete)]
