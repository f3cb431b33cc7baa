"""Lists are shown as lists on a code host and in `make docs`, whose Markdown wants an empty line before them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ITEM = re.compile(r"^(?:[*-]|\d+\.) ", re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_empty_line_is_before_each_list(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text)]
    assert [block for block in blocks if ITEM.search(block) and not ITEM.match(block)] == []
