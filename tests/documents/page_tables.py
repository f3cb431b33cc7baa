"""What the tables of a page name."""

import re
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "docs/reference"


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, or after another line, up to the next heading of the same level or above."""
    text = f"\n{page.read_text()}".partition(f"\n{heading}\n")[2]
    level = len(heading) - len(heading.lstrip("#")) or 6
    return re.split(rf"^#{{1,{level}}} ", text, flags=re.MULTILINE)[0]


def named_in_table(page: Path, heading: str) -> set[str]:
    """Return the names in the first column of the first table under a heading, or after another line."""
    rows = section(page, heading).partition("\n|---")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (.*?) \|", rows, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w./-]+)`", cell)}
