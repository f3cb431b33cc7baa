"""The pages of the reference that `make docs` writes from the code: every command, and every setting of a recipe."""

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from freelight.cli import SHORT_HELPS, main
from freelight.train.recipes import RECIPES, described_settings


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to those of this folder. MkDocs calls this."""
    from mkdocs.structure.files import File

    for name, content in (("commands", commands_page()), ("recipes", recipes_page())):
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_config(config: Any) -> Any:
    """Add the decisions to the navigation, in their order. MkDocs calls this."""
    decisions = sorted(Path(config.docs_dir).glob("design/decisions/*.md"))
    (design,) = (item["Design"] for item in config.nav if isinstance(item, dict) and "Design" in item)
    design.append({"Decisions": [f"design/decisions/{path.name}" for path in decisions]})
    return config


def commands_page() -> str:
    """Return the help of each command, as printed, and of each claim and benchmark."""
    parts = [
        "# Commands",
        "`tools/make_shards` of a checkout is `freelight make-shards`, and `train` is `freelight train`. See also the "
        "[exit codes](../exit-codes.md).",
    ]
    for name in SHORT_HELPS:
        command = import_module(f"freelight.commands.{name.replace('-', '_')}").command
        parts += [f"## {name}", printed_help(command, f"{main.name} {name}")]
        for sub in command.list_commands(click.Context(command)) if isinstance(command, click.Group) else ():
            inner = command.get_command(click.Context(command), sub)
            assert inner is not None
            parts += [f"### {name} {sub}", printed_help(inner, f"{main.name} {name} {sub}")]
    return "\n\n".join(parts) + "\n"


def printed_help(command: click.Command, name: str) -> str:
    """Return a command's help as a block of text."""
    with click.Context(command, info_name=name, max_content_width=100) as context:
        return f"```text\n{command.get_help(context)}\n```"


def recipes_page() -> str:
    """Return a table of all settings with their values in `paper`, and what each other recipe changes."""
    rows = ["| key | default, as in `paper` | may be | meaning |", "|---|---|---|---|"]
    for key, texts in described_settings(RECIPES["paper"]).items():
        rows.append(f"| `{key}` | " + " | ".join(text.replace("|", "\\|") for text in texts) + " |")
    parts = [
        "# Settings of a recipe",
        "`train --set key=value` changes a setting, `train --show-recipe NAME` prints a recipe, and `train --recipe "
        "FILE.toml` takes your own: see [Add a recipe](../howto/add-a-recipe.md).",
        "\n".join(rows),
        "## Recipes",
    ]
    for recipe in RECIPES.values():
        settings, changed = described_settings(recipe), recipe.differences(RECIPES["paper"])
        parts += [f"**{recipe.name}**: {recipe.header.summary}"]
        if changed:
            parts += ["Differs from `paper`: " + ", ".join(f"`{key}={settings[key][0]}`" for key in changed) + "."]
    return "\n\n".join(parts) + "\n"
