"""The command `freelight`: its sub-commands, what it imports, its help, version and completion."""

import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

import freelight
from freelight.cli import SHORT_HELPS, main
from freelight.commands.benchmark import BENCHMARKS
from freelight.commands.reproduce import CLAIMS
from freelight.lazy_group import LazyGroup
from freelight.shards.base import Command

COMMANDS = [
    *(("freelight.commands", name, short_help) for name, short_help in SHORT_HELPS.items()),
    *(("freelight.claims", name, short_help) for name, short_help in CLAIMS.items()),
    *(("freelight.benchmarks", name, short_help) for name, short_help in BENCHMARKS.items()),
]
GROUPS = {"freelight.claims": "reproduce", "freelight.benchmarks": "benchmark"}
HEAVY = ("torch", "nvidia.dali", "sklearn", "scipy", "numpy", "PIL")


def modules_after(code: str) -> set[str]:
    """Run Python code in a new process and return the names of the modules that it has then."""
    code = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def typed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m freelight`."""
    program = [sys.executable, "-m", "freelight", *words]
    return subprocess.run(program, env={**os.environ, **environment}, capture_output=True, text=True, check=True)


def help_of(*words: str) -> str:
    """Return code that asks a command for its help."""
    return f"from freelight.cli import main\nmain([*{words!r}, '--help'], standalone_mode=False)"


@pytest.mark.parametrize("code", ["import freelight", help_of(), help_of("benchmark"), help_of("reproduce")])
def test_the_package_and_the_lists_of_commands_import_nothing_heavy(code: str) -> None:
    assert modules_after(code).isdisjoint(HEAVY)


def test_the_help_of_make_shards_imports_neither_torch_nor_dali_nor_scikit_learn_nor_scipy() -> None:
    found = modules_after(help_of("make-shards"))
    assert found.isdisjoint({"torch", "nvidia.dali", "sklearn", "scipy"})
    assert "freelight.commands.compute_pca" not in found, "only the named command is imported"


def test_names_of_the_statistics_are_imported_at_first_use() -> None:
    """`__getattr__` of the package finds each name of `__all__`, and any other name is an error."""
    shards = import_module("freelight.shards")
    assert all(hasattr(shards, name) for name in shards.__all__)
    with pytest.raises(AttributeError, match=r"'freelight\.shards' has no attribute 'nonsense'"):
        _ = shards.nonsense


@pytest.mark.parametrize(("package", "name", "short_help"), COMMANDS)
def test_a_short_help_is_the_first_sentence_of_the_commands_own_help(package: str, name: str, short_help: str) -> None:
    """The table is read without importing the command, so it can differ from it."""
    command = import_module(f"{package}.{name.replace('-', '_')}").command
    assert command.get_short_help_str(limit=200).rstrip(".") == short_help
    assert command.name == name


@pytest.mark.parametrize(("package", "name", "_"), COMMANDS)
def test_help_has_options_in_groups_and_examples_that_the_command_takes(package: str, name: str, _: str) -> None:
    """What a user copies from the help must not be refused."""
    command = import_module(f"{package}.{name.replace('-', '_')}").command
    if isinstance(command, LazyGroup):
        return
    before = ["freelight", GROUPS[package], name] if package in GROUPS else ["freelight", name]
    before = before if name != "train" or package in GROUPS else ["train"]
    shown = CliRunner().invoke(command, ["--help"]).stdout
    assert isinstance(command, Command)
    assert "Further options:" not in shown, "an option of no group"
    for title in command.groups:
        assert f"\n{title}:\n  " in shown
    assert len(command.examples) == 2
    for example in command.examples:
        assert f"\n  {example}\n" in f"{shown}\n"
        words = shlex.split(example)
        assert words[: len(before)] == before
        command.make_context(name, words[len(before) :])


@pytest.mark.parametrize(("package", "name", "_"), COMMANDS)
def test_every_command_can_be_quiet_or_give_json(package: str, name: str, _: str) -> None:
    command = import_module(f"{package}.{name.replace('-', '_')}").command
    options = {option for parameter in command.params for option in parameter.opts}
    assert isinstance(command, LazyGroup) or {"--quiet", "--json"} <= options


def test_an_option_has_one_kind_of_value_in_every_command() -> None:
    """A word means one thing. A dataset, a copy and an output may be a URL in some commands, so there they are text."""
    kinds: dict[str, set[str]] = {}
    for package, name, _ in COMMANDS:
        command = import_module(f"{package}.{name.replace('-', '_')}").command
        for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
            kind = "path" if isinstance(option.type, click.Path) else option.type.name.removesuffix(" range")
            kinds.setdefault(max(option.opts, key=len), set()).add(kind)
    mixed = {option for option, found in kinds.items() if len(found) > 1}
    assert mixed == {"--from", "--out", "--shards"}
    expected = {"--images": "path", "--width": "float", "--pixels": "integer", "--batch-size": "integer"}
    assert {option: kinds[option] for option in expected} == {option: {kind} for option, kind in expected.items()}
    assert kinds.keys().isdisjoint({"--batch", "--into"})


@pytest.mark.parametrize("group", ["", "benchmark", "reproduce"])
def test_help_lists_every_command_and_other_names_exit_2(group: str) -> None:
    words = group.split()
    listed = CliRunner().invoke(main, [*words, "--help"]).stdout
    command = import_module(f"freelight.commands.{group}").command if group else main
    assert isinstance(command, LazyGroup)
    for name in command.list_commands(click.Context(command)):
        assert f"\n  {name} " in listed
    refused = CliRunner().invoke(main, [*words, "nonsense"])
    assert refused.exit_code == 2
    assert "No such command 'nonsense'" in refused.stderr


def test_every_command_module_is_in_the_table() -> None:
    package = import_module("freelight.commands")
    assert {module.name for module in pkgutil.iter_modules(package.__path__)} == {
        name.replace("-", "_") for name in SHORT_HELPS
    }


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout == f"freelight, version {freelight.__version__}\n"
    words = [sys.executable, "-m", "freelight", "--version"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.endswith(
        f"{freelight.__version__}\n"
    )


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("freelight ma", ["make-shards"]),
        ("freelight compute-pca --sh", ["--shards"]),
        ("freelight benchmark p", ["pca", "peers"]),
        ("freelight --v", ["--version"]),
    ],
)
def test_bash_completes_commands_and_options(line: str, completed: list[str]) -> None:
    """As the script from `_FREELIGHT_COMPLETE=bash_source freelight` asks."""
    words = line.split()
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_FREELIGHT_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "freelight"], env=environment, capture_output=True, text=True, check=True
    )
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == completed


@pytest.mark.slow
@pytest.mark.parametrize("code", ["from freelight.cli import train as run", "from freelight.cli import main as run"])
def test_dali_that_cannot_be_loaded_is_one_line_with_the_remedy(code: str) -> None:
    """It is missing while its wheel for one CUDA version is replaced by the other."""
    missing = "import sys\nsys.modules['nvidia.dali'] = None\n"
    words = [sys.executable, "-c", f"{missing}{code}\nrun()", *(["train"] if "main" in code else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: DALI cannot be loaded \(.*\); install .* nvidia-dali-cuda120\n", done.stderr)
