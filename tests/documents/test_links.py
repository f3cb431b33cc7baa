"""Links in the documents have targets, and so do their anchors and the sections that code cites.

Targets are files of the checkout, and not pages that only `make docs` writes: a code host shows the files.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from freelight.cli import SHORT_HELPS
from freelight.commands.benchmark import BENCHMARKS
from freelight.commands.reproduce import CLAIMS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITATION = re.compile(r"docs/design/paper\.md(?:'s)? sections? (\d)(?: and (\d))?")


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults(path: Path) -> list[str]:
    """List the broken links of a document. Web addresses are not followed."""
    found = []
    for link in LINK.findall(path.read_text()):
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if "://" in link:
            continue
        if not target.exists():
            found.append(f"{path.name}: {link} does not exist")
        elif anchor and anchor not in anchors(target):
            found.append(f"{path.name}: {link} has no such heading")
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    assert faults(path) == []


def test_a_planted_dead_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# One two\n[good](#one-two) [web](https://x.org) [no file](b.md) [no heading](a.md#three)\n")
    assert faults(document) == ["a.md: b.md does not exist", "a.md: a.md#three has no such heading"]


def test_the_index_lists_every_decision() -> None:
    folder = ROOT / "docs/design"
    index = (folder / "README.md").read_text()
    assert [path.name for path in folder.glob("decisions/*.md") if f"decisions/{path.name}" not in index] == []


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning_and_the_reference_names_commands_and_settings(tmp_path: Path) -> None:
    from freelight.train import Recipe  # here, because it imports torch

    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "pages"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands, recipes, loading = (
        (tmp_path / "pages/reference" / name / "index.html").read_text() for name in ("commands", "recipes", "pipeline")
    )
    names = [*SHORT_HELPS, *(f"benchmark-{name}" for name in BENCHMARKS), *(f"reproduce-{name}" for name in CLAIMS)]
    assert [name for name in names if f'id="{name}"' not in commands] == []
    assert [key for key in Recipe().settings() if f"<code>{key}</code>" not in recipes] == []
    assert 'id="loader"' in loading
    assert "decisions/01-shards-are-pure-functions" in loading, "in the navigation"


def test_cited_sections_of_the_paper_facts_exist() -> None:
    """A docstring must not cite section 9 of a document with seven sections."""
    sections = set(re.findall(r"^## (\d)\.", (ROOT / "docs/design/paper.md").read_text(), re.MULTILINE))
    files = [path for folder in ("shards", "pipeline", "train", "tests") for path in (ROOT / folder).rglob("*.py")]
    cited = {number for path in files for pair in CITATION.findall(path.read_text()) for number in pair if number}
    assert cited
    assert cited <= sections
