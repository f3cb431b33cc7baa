"""Every block of bash and Python in README.md and docs/ runs as it stands, or says why it does not."""

import re
from pathlib import Path

import pytest
from document_blocks import PAGES, ROOT, prints, read_page
from sessions import page_place, run_blocks

RUNNING = [path for path in PAGES if read_page(path).runs]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_is_run_or_has_a_reason(path: Path) -> None:
    assert read_page(path).faults == ()


@pytest.mark.slow
@pytest.mark.parametrize("path", RUNNING, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_run_in_order(path: Path, tmp_path: Path) -> None:
    faults = run_blocks(read_page(path).blocks, page_place(tmp_path))
    assert not faults, faults[0]


def test_the_readme_has_at_most_900_words_beside_code_and_tables() -> None:
    text = (ROOT / "README.md").read_text()
    prose = re.sub(r"<!--.*?-->|^```.*?^```$|^\|.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert 400 < len(prose.split()) <= 900


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the last table of a section, without links."""
    section = f"\n{(ROOT / page).read_text()}".partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", line).strip("| ").split(" | ") for line in lines]


def test_the_readme_compares_as_the_page_of_comparison_does() -> None:
    ours = rows("README.md", "## Compared with other software")
    assert len(ours) > 10
    assert ours == rows("docs/comparison.md", "# Comparison")


def test_each_result_of_the_readme_stands_among_the_results() -> None:
    """A figure that was measured anew must not stay behind in the README."""
    results = (ROOT / "docs/results.md").read_text()
    figures = [figure for row in rows("README.md", "## Results")[2:] for figure in re.findall(r"\d[\d.,]+\d", row[-1])]
    assert len(figures) > 10
    assert [figure for figure in figures if figure not in results] == []


GOOD = """
<!-- test:
export WORD=three
-->
```bash
echo one  2 $WORD; echo skipped; echo four
```

```text
one 7 three
…
fo…
```

<!-- fails: 2 -->
```bash
exit 2
```

```python
number = 5
```
<!-- test python: assert number == 5 -->

<!-- not run: needs a GPU -->
```bash
no such command
```
"""


def test_blocks_share_a_shell_and_a_python_session(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(GOOD)
    page = read_page(tmp_path / "page.md")
    assert page.faults == ()
    assert [block.reason for block in page.blocks] == [None] * 5 + ["needs a GPU"]
    assert run_blocks(page.blocks, page_place(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\ntrue\n```\n", "page.md:1: a block of `sh`; "),
        ("```\ntrue\n```\n", "page.md:1: a block of ``; "),
        ("<!-- not run: -->\n```bash\ntrue\n```\n", "page.md:1: the mark `not run` says nothing"),
        ("<!-- not run: no block -->\n", "page.md: the last mark `not run` has no block"),
        ("```python\nif\n```\n", "page.md:1: invalid syntax"),
    ],
)
def test_a_planted_fault_is_found(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    (found,) = read_page(tmp_path / "page.md").faults
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("```bash\nfalse\necho on\n```\n", "line 1 failed"),
        ("\n```bash\necho a\n```\n\n```text\nb\n```\n", "line 2 did not print:\nb\n"),
        ("<!-- fails: 2 -->\n```bash\nexit 1\n```\n", "line 2 failed"),
        ("<!-- fails: 2 -->\n```bash\ntrue\n```\n", "line 2 failed"),
        ("```python\nassert 1 > 2\n```\n", "line 1 failed"),
    ],
)
def test_a_block_that_fails_fails_its_page(text: str, failure: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    (found,) = run_blocks(read_page(tmp_path / "page.md").blocks, page_place(tmp_path))
    assert found.startswith(failure)
    assert "on\n" not in found.partition("\n\n")[2]


def test_numbers_and_spaces_count_as_equal_in_what_is_printed() -> None:
    assert prints("  12 images in 1.5 s\n…\nend", "3 images  in 20 s\nmore\nend\n") == []
    assert prints("end\n12 images", "3 images\nend\n") == ["12 images"]
