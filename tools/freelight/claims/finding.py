"""The result of a claim: the paper's figures, ours and the conditions, as a table and as a record."""

from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from freelight.shards.base import format_table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table, as text: the paper's figure, ours, and ours minus the paper's."""

    what: str
    paper: str
    ours: str
    difference: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a claim.

    conditions: lines of text with everything that the figures depend on. figures: the numbers, for the record. tables:
    further tables as rows of cells, each with its header first.
    """

    claim: str
    rows: tuple[Row, ...]
    conditions: tuple[str, ...]
    figures: dict[str, Any]
    picture: Image.Image | None
    verdict: str = ""
    tables: tuple[tuple[tuple[str, ...], ...], ...] = ()

    def table(self) -> str:
        """Return the whole result as text, the verdict last."""
        rows = [(row.what, row.paper, row.ours, row.difference) for row in self.rows]
        parts = [self.claim, *self.conditions, "", format_table(("", "paper", "ours", "difference"), rows)]
        for header, *lines in self.tables:
            parts += ["", format_table(header, lines)]
        return "\n".join([*parts, *(["", self.verdict] if self.verdict else [])])

    def record(self) -> dict[str, Any]:
        """Return the whole result, without the picture, as plain data for JSON."""
        return {
            "claim": self.claim,
            "conditions": self.conditions,
            "rows": [asdict(row) for row in self.rows],
            "figures": self.figures,
            "verdict": self.verdict,
        }
