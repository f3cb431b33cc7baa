"""The records of claims in docs/claims: a picture for each, quoted in the results, and no paths of one machine."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "claims").glob("*.json"))
ABSOLUTE = re.compile(r"""(?:^|[\s"'=(])/\w[^\s"']*""", re.MULTILINE)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_holds_no_absolute_path_and_the_results_show_it(record: Path) -> None:
    assert ABSOLUTE.findall(record.read_text(encoding="utf-8")) == []
    assert record.with_suffix(".png").is_file()
    results = (DOCS / "results.md").read_text(encoding="utf-8")
    assert f"(claims/{record.stem}.png)" in results
    assert re.search(rf"\b{record.stem.removeprefix('ablation-')}`|reproduce {record.stem} ", results)
