"""The pages of the reference that `make docs` writes from the code: every command, and every setting of a recipe."""

from importlib import import_module
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


def commands_page() -> str:
    """Return the help of each command, as printed."""
    parts = [
        "# Commands",
        "`tools/make_shards` of a checkout is `freelight make-shards`, and `train` is `freelight train`. See also the "
        "[exit codes](../exit-codes.md).",
    ]
    for name in SHORT_HELPS:
        command = import_module(f"freelight.commands.{name.replace('-', '_')}").command
        with click.Context(command, info_name=f"{main.name} {name}", max_content_width=100) as context:
            parts += [f"## {name}", f"```text\n{command.get_help(context)}\n```"]
    return "\n\n".join(parts) + "\n"


def recipes_page() -> str:
    """Return a table of all settings with their values in `paper`, and what each other recipe changes."""
    rows = ["| key | `paper` | may be | meaning |", "|---|---|---|---|"]
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
