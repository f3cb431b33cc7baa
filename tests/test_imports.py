"""Imports go one way: tools -> train -> pipeline -> shards, and inside each of them from upper to lower folders.

So the lower parts work without the higher ones. Tools and examples import only names that a package has in `__all__`.
"""

import ast
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shards", "pipeline", "train")
"""Each may import itself and those before it."""

OTHER = "its own files"
LEVELS = {
    "shards": (
        ("base",),
        ("images",),
        ("sources",),
        ("dataset",),
        ("layouts",),
        ("statistics", "writing"),
        ("indexing",),
        (OTHER,),
    ),
    "pipeline": (("seeds",), ("windowed",), ("draws", "sampling"), ("ops",), (OTHER,), ("pictures",)),
    "train": (("parallel",), ("network",), ("recipes",), (OTHER,), ("evaluation", "exporting"), ("inspection",)),
    "tools/freelight": (("lazy_group",), ("benchmarks", "demo"), ("acceptance", "claims"), ("commands",), (OTHER,)),
}
"""The folders and files of a package by level, the lowest first. Each may import itself and lower levels.

A package's files that have no level of their own are `OTHER`. `__init__.py` may import all, because it is the API.
"""


def python_files(root: Path) -> Iterator[Path]:
    """Yield the Python files of packages, tools, examples and tests. An executable is known by its first line."""
    for folder in (*PACKAGES, "tools", "examples", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix == ".py" or (path.is_file() and not path.suffix and is_python_script(path)):
                yield path


def is_python_script(path: Path) -> bool:
    """Tell whether the first line names a Python interpreter."""
    with path.open("rb") as file:
        line = file.readline()
    return line.startswith(b"#!") and b"python" in line


def imported_modules(path: Path) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield (line, level, parts of the module's name) of every import; `from x import a` is x.a, its level the dots."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield node.lineno, node.level, (*module, alias.name)


def violations(root: Path) -> list[str]:
    """List every import under `root` that breaks the rule."""
    found = []
    for path in python_files(root):
        place = path.relative_to(root)
        for line, level, parts in imported_modules(path):
            fault = fault_of(place, level, parts)
            if fault:
                found.append(f"{place}:{line}: {fault}")
    return found


def fault_of(place: Path, level: int, parts: tuple[str, ...]) -> str | None:
    """Return what is wrong with an import in the file `place`; None if it is allowed."""
    top = place.parts[0]
    if level == 0:
        return fault_of_absolute(place, parts)
    if top not in PACKAGES:
        return "tools, examples and tests import absolutely"
    home = ("freelight", *place.parts[:-1])
    if level >= len(home) + 1:
        return "the import leaves freelight"
    target, *inner = (*home[: len(home) - level + 1], *parts)[1:]
    if target == "__version__":
        return None
    if target not in PACKAGES:
        return f"{target!r} is no package that the packages may import"
    if PACKAGES.index(target) > PACKAGES.index(top):
        return f"{top} must work without {target}"
    return fault_of_level(top, place.parts[1:], inner) if target == top else None


def fault_of_absolute(place: Path, parts: tuple[str, ...]) -> str | None:
    """Return what is wrong with an absolute import in the file `place`; None if it is allowed."""
    if parts[0] in PACKAGES:
        return f"bare {parts[0]!r} may be anybody's; import freelight.{parts[0]}"
    if parts[0] == "tools":
        return "nothing imports tools"
    if parts[0] != "freelight":
        return None
    if place.parts[0] in PACKAGES:
        return "packages import one another relatively"
    if place.parts[:2] == ("tools", "freelight") and parts[1] not in (*PACKAGES, "__version__"):
        return fault_of_level("tools/freelight", place.parts[2:], parts[1:])
    if place.parts[0] == "tools" and len(place.parts) == 2 and parts[1:] != ("commands", place.name, "command"):
        return f"an executable imports freelight.commands.{place.name}.command alone"
    return None


def fault_of_level(package: str, place: Sequence[str], target: Sequence[str]) -> str | None:
    """Return what is wrong if a file of a package imports a higher level of it. place, target: parts below the
    package."""
    if place[-1] == "__init__.py" and len(place) == 1:
        return None
    ranks = {name: rank for rank, names in enumerate(LEVELS[package]) for name in names}
    mine, other = (name.removesuffix(".py") for name in (place[0], target[0] if target else ""))
    mine, other = (name if name in ranks else OTHER for name in (mine, other))
    if mine == other or ranks[other] < ranks[mine]:
        return None
    return f"in {package}, {mine} must work without {other}"


def test_imports_point_one_way() -> None:
    assert violations(ROOT) == []


def test_the_rule_reads_every_python_file_of_the_project() -> None:
    """An executable without extension counts, or a tool could break the rule unseen."""
    seen = {str(path.relative_to(ROOT)) for path in python_files(ROOT)}
    assert {
        "shards/writing/making.py",
        "pipeline/__init__.py",
        "train/__init__.py",
        "tools/make_shards",
        "tools/freelight/__init__.py",
    } <= seen
    assert str(Path(__file__).relative_to(ROOT)) in seen


def private_imports(root: Path) -> list[str]:
    """List the names that tools and examples import from the three packages though no `__all__` has them."""
    found = []
    for path in python_files(root):
        place = path.relative_to(root)
        if place.parts[0] not in ("tools", "examples"):
            continue
        for line, _, parts in imported_modules(path):
            *module, name = parts[1:] or ("",)
            if parts[0] != "freelight" or not module or module[0] not in PACKAGES or module == ["train", "cli"]:
                continue
            api = root.joinpath(*module, "__init__.py")
            if not api.exists() or name not in import_module(".".join(["freelight", *module])).__all__:
                found.append(f"{place}:{line}: {'.'.join(module)} has no {name} in an __all__")
    return found


def test_tools_and_examples_import_only_what_a_package_has_in_its_all() -> None:
    """So they use only what users may use. The exception is the console command `train` in `freelight.train.cli`."""
    assert private_imports(ROOT) == []


def test_a_planted_private_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "examples" / "bad.py"
    path.parent.mkdir()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "__init__.py").touch()
    path.write_text("from freelight.shards import Dataset, secret\nfrom freelight.shards.base.errors import x\n")
    assert private_imports(tmp_path) == [
        "examples/bad.py:1: shards has no secret in an __all__",
        "examples/bad.py:2: shards.base.errors has no x in an __all__",
    ]


SOUND = {
    "shards/__init__.py": "from .errors import FreelightError\nimport numpy\n",
    "shards/writing/part.py": "from ..base.errors import FreelightError\nfrom ...shards.dataset import x\n",
    "shards/writing/deep/part.py": "from ..part import x\nfrom ... import base\n",
    "pipeline/graph.py": "from ..shards import Dataset\nfrom .draws import draw\nfrom nvidia.dali import pipeline\n",
    "pipeline/pictures/page.py": "from ..graph import build\n",
    "train/loop.py": "from .. import __version__, pipeline\nfrom ..shards.dataset import Dataset\nimport torch.nn\n",
    "train/inspection/page.py": "from ..evaluation.errors import x\nfrom ..loop import y\nfrom ..network import z\n",
    "tools/train_it": "#!/usr/bin/env python3\nfrom freelight.commands.train_it import command\n",
    "tools/freelight/cli.py": "from freelight.lazy_group import LazyGroup\nfrom freelight import __version__\n",
    "tools/freelight/commands/train_it.py": "from freelight.train import main\nfrom freelight.demo import draw\n",
    "examples/loop.py": "from freelight.train import main\n",
    "tools/shell": "#!/bin/sh\nimport shards\n",
    "tests/test_it.py": "from freelight.shards import Dataset\nimport freelight.train\n",
}


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_sound_imports_pass(tmp_path: Path) -> None:
    plant(tmp_path, SOUND)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("place", "line", "fault"),
    [
        ("shards/bad.py", "from ..pipeline import graph", "shards must work without pipeline"),
        ("shards/bad.py", "from .. import train", "shards must work without train"),
        ("shards/base/bad.py", "from ...train.loop import step", "shards must work without train"),
        ("pipeline/bad.py", "def late():\n    from ..train import loop", "pipeline must work without train"),
        ("train/bad.py", "from freelight.shards import Dataset", "packages import one another relatively"),
        ("train/bad.py", "import freelight.pipeline as p", "packages import one another relatively"),
        ("train/bad.py", "from ..tools import make_shards", "'tools' is no package that the packages may import"),
        ("train/bad.py", "from ...shards import Dataset", "the import leaves freelight"),
        ("pipeline/bad.py", "import shards", "bare 'shards' may be anybody's"),
        ("tools/bad", "#!/usr/bin/env python3\nimport train", "bare 'train' may be anybody's"),
        ("tools/bad.py", "from pipeline.graph import build", "bare 'pipeline' may be anybody's"),
        ("shards/bad.py", "from ..claims import speed", "'claims' is no package that the packages may import"),
        ("tests/deep/bad.py", "from tools.freelight import claims", "nothing imports tools"),
        ("tests/bad.py", "from .conftest import pictures", "tools, examples and tests import absolutely"),
        ("shards/base/bad.py", "from ..images import rescaling", "in shards, base must work without images"),
        ("shards/dataset/bad.py", "from ..layouts import folders", "in shards, dataset must work without layouts"),
        ("shards/base/bad.py", "from ... import shards", "in shards, base must work without its own files"),
        ("pipeline/ops/bad.py", "from ..graph import build", "in pipeline, ops must work without its own files"),
        ("train/network/bad.py", "from .. import loop", "in train, network must work without its own files"),
        ("train/bad.py", "from .evaluation import errors", "in train, its own files must work without evaluation"),
        (
            "train/evaluation/bad.py",
            "from ..inspection.page import x",
            "in train, evaluation must work without inspection",
        ),
        (
            "tools/bad",
            "#!/usr/bin/env python3\nfrom freelight.train import main",
            "an executable imports freelight.",
        ),
        (
            "tools/freelight/claims/bad.py",
            "from freelight.commands.train_it import command",
            "in tools/freelight, claims must work without commands",
        ),
    ],
)
def test_a_planted_violation_is_found_alone(place: str, line: str, fault: str, tmp_path: Path) -> None:
    plant(tmp_path, {**SOUND, place: f"{line}\n"})
    (found,) = violations(tmp_path)
    assert found.startswith(f"{place}:{line.count(chr(10)) + 1}: {fault}")
