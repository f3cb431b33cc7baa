"""The pages of the reference that `make docs` writes from the docstrings of the public names, package by package."""

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = {
    "shards": "freelight.shards",
    "pipeline": "freelight.pipeline",
    "train": "freelight.train",
    "evaluation": "freelight.train.evaluation",
    "inspection": "freelight.train.inspection",
    "exporting": "freelight.train.exporting",
}
"""Page -> package. Its public names are those of its `__all__`."""
WIDTH = 88
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to those of this folder. MkDocs calls this."""
    from mkdocs.structure.files import File

    for name, package in PACKAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=api_page(package)))
    return files


def api_page(package: str) -> str:
    """Return the page of a package: its docstring, then each public name with its signature and docstring."""
    module = import_module(package)
    constants = constant_docstrings(module)
    parts = [f"# {package}", inspect.getdoc(module) or ""]
    for name in sorted(module.__all__, key=str.lower):
        parts += [f"## {name}", *describe(name, getattr(module, name), constants)]
    return "\n\n".join(part for part in parts if part) + "\n"


def constant_docstrings(module: ModuleType) -> dict[str, str]:
    """Return the texts that follow the constants in the files of a package, by name."""
    found: dict[str, str] = {}
    for path in sorted(Path(str(module.__file__)).parent.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for statement, after in itertools.pairwise(body):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[target.id] = inspect.cleandoc(str(after.value.value))
    return found


def describe(name: str, value: Any, constants: dict[str, str]) -> Iterator[str]:
    """Yield the parts of a name's section."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        shown = re.sub(r"\b(typing|numpy)\.", "", repr(value))
        yield fenced(f"{name} = {shown}" if len(shown) < WIDTH else f"{name}: {type(value).__name__}")
        yield constants.get(name, "")
        return
    tree = source_of(value)
    if isinstance(tree, ast.ClassDef):
        yield fenced(class_signature(value, tree))
        yield prose(value, set().union(*(names_of_class(source_of(one)) for one in ours(value))))
        for member in tree.body:
            if isinstance(member, FUNCTIONS) and not member.name.startswith("_") and ast.get_docstring(member):
                yield f"### {name}.{member.name}"
                yield fenced(member_signature(member))
                yield prose(getattr(value, member.name), names_of(member.args))
    else:
        yield fenced(signature(tree.name, tree))
        yield prose(value, names_of(tree.args))


def source_of(value: Any) -> Any:
    """Return the syntax tree of a class or a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def ours(value: type) -> list[type]:
    """Return a class and those of its bases that are Freelight's, the class first."""
    return [one for one in inspect.getmro(value) if one.__module__.startswith("freelight")]


def class_signature(value: type, tree: ast.ClassDef) -> str:
    """Return how a class is called: by its `__init__`, or else by its fields."""
    own = next((one for one in tree.body if isinstance(one, FUNCTIONS) and one.name == "__init__"), None)
    if own is not None:
        return signature(tree.name, own, skip=1)
    written = {
        one.target.id: re.sub(r"field\(default_factory=(\w+)\)", r"\1()", ast.unparse(one))
        for base in reversed(ours(value))
        for one in source_of(base).body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.init]
        words = [written[field.name] for field in fields if not field.kw_only]
        keywords = [written[field.name] for field in fields if field.kw_only]
        return call(tree.name, [*words, *(["*", *keywords] if keywords else [])])
    bases = [ast.unparse(base) for base in tree.bases]
    if "NamedTuple" in bases:
        return call(tree.name, list(written.values()))
    return f"class {tree.name}({', '.join(bases)})" if bases else f"class {tree.name}"


def member_signature(tree: FUNCTIONS) -> str:
    """Return how a method is called, or the type of a property."""
    decorators = {ast.unparse(decorator) for decorator in tree.decorator_list}
    if decorators & {"property", "functools.cached_property"}:
        return f"{tree.name}: {ast.unparse(tree.returns) if tree.returns else 'Any'}"
    return signature(tree.name, tree, skip=0 if "staticmethod" in decorators else 1)


def signature(name: str, tree: FUNCTIONS, *, skip: int = 0) -> str:
    """Return how a function is called, without its first `skip` arguments, as its source has it."""
    arguments = tree.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    words = [argument(one, default) for one, default in zip(positional, defaults, strict=True)][skip:]
    if arguments.vararg:
        words.append(f"*{argument(arguments.vararg)}")
    elif arguments.kwonlyargs:
        words.append("*")
    words += [argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        words.append(f"**{argument(arguments.kwarg)}")
    returns = ast.unparse(tree.returns).strip("'") if tree.returns and name != "__init__" else ""
    return call(name, words) + (f" -> {returns}" if returns not in ("", "None") else "")


def argument(tree: ast.arg, default: ast.expr | None = None) -> str:
    """Return an argument with its type and default value."""
    kind = f": {ast.unparse(tree.annotation)}" if tree.annotation else ""
    return f"{tree.arg}{kind}" + (f"{' = ' if kind else '='}{ast.unparse(default)}" if default is not None else "")


def call(name: str, words: list[str]) -> str:
    """Return a call on one line, or with a line for each argument."""
    line = f"{name}({', '.join(words)})"
    return line if len(line) <= WIDTH else "\n".join([f"{name}(", *(f"    {word}," for word in words), ")"])


def names_of_class(tree: ast.ClassDef) -> set[str]:
    """Return the fields, properties and arguments of a class."""
    found = {one.target.id for one in tree.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    for member in tree.body:
        if isinstance(member, FUNCTIONS):
            found |= names_of(member.args) if member.name == "__init__" else {member.name}
    return found


def names_of(arguments: ast.arguments) -> set[str]:
    """Return the names of a function's arguments."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {one.arg for one in every if one}


def prose(value: Any, names: set[str]) -> str:
    """Return a docstring, with a line of a list where it begins to describe arguments or fields: `name: text`."""
    paragraphs = []
    for paragraph in (inspect.getdoc(value) or "").split("\n\n"):
        text = "".join(
            part if part.startswith("`") else part.replace("*", "\\*").replace("<", "&lt;")
            for part in re.split(r"(`[^`]*`)", " ".join(paragraph.split()))
        )
        lines = re.sub(r"(?:^|(?<=[.;] ))(\w+(?:, \w+)*): ", lambda found: listed(found, names), text).split("\n")
        before, *items = [line.strip() for line in lines]
        paragraphs += [before, "\n".join(items)]
    return "\n\n".join(filter(None, paragraphs))


def listed(found: re.Match[str], names: set[str]) -> str:
    """Return the beginning of a line of a list, if all words are names; else the text as it was."""
    words = found[1].split(", ")
    return f"\n* {', '.join(f'`{word}`' for word in words)}: " if set(words) <= names else found[0]


def fenced(code: str) -> str:
    """Return a block of Python."""
    return f"```python\n{code}\n```"
