"""The records in docs/claims: quoted in the results, a claim's with its picture, and no paths of one machine."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "claims").glob("*.json"))
ABSOLUTE = re.compile(r"""(?:^|[\s"'=(])/\w[^\s"']*""", re.MULTILINE)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_holds_no_absolute_path_and_the_results_show_it(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert ABSOLUTE.findall(text) == []
    held = json.loads(text)
    name = held.get("claim") or held["benchmark"]
    shown = record.with_suffix(".png") if held.get("claim") == record.stem else record
    assert shown.is_file()
    results = (DOCS / "results.md").read_text(encoding="utf-8")
    assert f"(claims/{shown.name})" in results
    assert re.search(rf"\b{name.removeprefix('ablation-')}`|(?:reproduce|benchmark) {name} ", results)
