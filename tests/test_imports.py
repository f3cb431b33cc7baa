"""Arrows point one way, tools -> train -> pipeline -> shards: the lower packages work without the higher ones."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shards", "pipeline", "train")
"""Each may import itself and those before it."""


def python_files(root: Path) -> Iterator[Path]:
    """Yield the Python files of the packages, tools and tests; an executable has no extension, but a first line."""
    for folder in (*PACKAGES, "tools", "tests"):
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
    """Say what is wrong with an import in the file `place`; None when nothing is."""
    top = place.parts[0]
    if level == 0:
        if parts[0] in PACKAGES:
            return f"bare {parts[0]!r} may be anybody's; import freelight.{parts[0]}"
        if parts[0] == "tools":
            return "nothing imports tools"
        if parts[0] == "freelight" and top in PACKAGES:
            return "packages import one another relatively"
        return None
    if top not in PACKAGES:
        return "tools and tests import absolutely"
    home = ("freelight", *place.parts[:-1])
    if level >= len(home) + 1:
        return "the import leaves freelight"
    target = (*home[: len(home) - level + 1], *parts)[1]
    if target == "__version__":
        return None
    if target not in PACKAGES:
        return f"{target!r} is no package that the packages may import"
    if PACKAGES.index(target) > PACKAGES.index(top):
        return f"{top} must work without {target}"
    return None


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


SOUND = {
    "shards/__init__.py": "from .errors import FreelightError\nimport numpy\n",
    "shards/deep/part.py": "from ..base.errors import FreelightError\nfrom ...shards import base\n",
    "pipeline/graph.py": "from ..shards import Dataset\nfrom .order import draw\nfrom nvidia.dali import pipeline\n",
    "train/loop.py": "from .. import __version__, pipeline\nfrom ..shards.dataset import Dataset\nimport torch.nn\n",
    "tools/train_it": "#!/usr/bin/env python3\nfrom freelight.train import main\n",
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
        ("shards/deep/bad.py", "from ...train.loop import step", "shards must work without train"),
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
        ("tests/bad.py", "from .conftest import pictures", "tools and tests import absolutely"),
    ],
)
def test_a_planted_violation_is_found_alone(place: str, line: str, fault: str, tmp_path: Path) -> None:
    plant(tmp_path, {**SOUND, place: f"{line}\n"})
    (found,) = violations(tmp_path)
    assert found.startswith(f"{place}:{line.count(chr(10)) + 1}: {fault}")
