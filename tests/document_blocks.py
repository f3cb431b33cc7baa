"""The code blocks of a document, in order, with the marks that say how a test runs them.

A fenced block ```` ```bash ```` or ```` ```python ```` is run. HTML comments, which no reader sees, are its marks:

* `<!-- not run: reason -->` before a block: it is shown only. The reason is a download, a GPU, several machines.
* `<!-- fails: 2 -->` before a block of bash: it ends with that exit code.
* `<!-- test: shell lines -->` and `<!-- test python: lines -->`: run too, at this place. For set-up and for checks.

A block ```` ```text ```` straight after a block is what that block prints: see `prints`.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
SHOWN = {"text", "mermaid", "json", "toml", "yaml"}
"""Languages of blocks that nobody runs."""
PART = re.compile(
    r"^<!--\s*(?P<mark>not run|fails|test|test python):(?P<content>.*?)-->"
    r"|^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block to run, or with a `reason` not to. `printed` is the text block after it; readers see no `hidden` one."""

    language: str
    code: str
    line: int
    reason: str | None = None
    fails: int = 0
    printed: str | None = None
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """The blocks of a document, and one line for each thing that is wrong with its marks."""

    blocks: tuple[Block, ...]
    faults: tuple[str, ...]

    @property
    def runs(self) -> bool:
        return any(block.reason is None for block in self.blocks)


def read_page(path: Path) -> Page:
    """Read the blocks of a document."""
    text = path.read_text()
    blocks: list[Block] = []
    faults: list[str] = []
    pending: re.Match[str] | None = None  # the mark before the next block
    after: int | None = None  # where the last block ends, if text may follow that it prints
    for part in PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        content = (part["content"] or "").strip()
        language, code = part["language"], textwrap.dedent(part["code"] or "")
        if part["mark"] in ("not run", "fails"):
            if not content or (part["mark"] == "fails" and not content.isdecimal()):
                faults.append(f"{path.name}:{line}: the mark `{part['mark']}` says nothing")
            if pending:
                faults.append(f"{path.name}:{line}: two marks for one block")
            pending = part
            continue
        if part["mark"]:
            language = "python" if part["mark"] == "test python" else "bash"
            blocks.append(Block(language=language, code=content, line=line, hidden=True))
        elif language in ("bash", "python"):
            mark, said = (pending["mark"], pending["content"].strip()) if pending else (None, "")
            fails = int(said) if mark == "fails" and said.isdecimal() else 0
            block = Block(
                language=language, code=code, line=line, reason=said if mark == "not run" else None, fails=fails
            )
            blocks.append(block)
        elif language == "text" and after is not None and not pending and not text[after : part.start()].strip():
            blocks[-1] = Block(**{**vars(blocks[-1]), "printed": code})
        elif language not in SHOWN:
            faults.append(f"{path.name}:{line}: a block of `{language}`; write bash, python or {', '.join(SHOWN)}")
        pending = None
        after = part.end() if not part["mark"] and language in ("bash", "python") else None
    if pending:
        faults.append(f"{path.name}: the last mark `{pending['mark']}` has no block")
    for block in blocks:
        if block.language == "python":
            try:
                compile(block.code, path.name, "exec")
            except SyntaxError as error:
                faults.append(f"{path.name}:{block.line}: {error}")
    return Page(blocks=tuple(blocks), faults=tuple(faults))


def prints(expected: str, output: str) -> list[str]:
    """Return the lines of `expected` that `output` does not have in this order.

    Numbers and runs of spaces count as equal, and `…` stands for anything, in a line or as lines of its own.
    """
    missing, rest = [], [_masked(line) for line in output.splitlines()]
    for line in expected.splitlines():
        pattern = re.compile(".*".join(re.escape(part) for part in _masked(line).split("…")))
        place = next((place for place, printed in enumerate(rest) if pattern.fullmatch(printed)), None)
        if _masked(line) in ("", "…"):
            continue
        if place is None:
            missing.append(line)
        else:
            rest = rest[place + 1 :]
    return missing


def _masked(line: str) -> str:
    return " ".join(re.sub(r"\d[\d,.]*", "0", line).split())
