"""What a claim found: the paper's figure beside ours, under which conditions; as a table and a record."""

from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from freelight.shards.base.console import columns


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure, as printed: the paper's, ours, and the difference of the two."""

    what: str
    paper: str
    ours: str
    difference: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """claim: its name. conditions: lines, all that the figures depend on. figures: as numbers. picture: None if none.

    tables: further tables as lines of cells, the first their header.
    """

    claim: str
    rows: tuple[Row, ...]
    conditions: tuple[str, ...]
    figures: dict[str, Any]
    picture: Image.Image | None
    verdict: str = ""
    tables: tuple[tuple[tuple[str, ...], ...], ...] = ()

    def table(self) -> str:
        """Return all of it as text, the verdict last."""
        rows = [(row.what, row.paper, row.ours, row.difference) for row in self.rows]
        parts = [self.claim, *self.conditions, "", columns(("", "paper", "ours", "difference"), rows)]
        for header, *lines in self.tables:
            parts += ["", columns(header, lines)]
        return "\n".join([*parts, *(["", self.verdict] if self.verdict else [])])

    def record(self) -> dict[str, Any]:
        """Return all of it but the picture as plain data."""
        return {
            "claim": self.claim,
            "conditions": self.conditions,
            "rows": [asdict(row) for row in self.rows],
            "figures": self.figures,
            "verdict": self.verdict,
        }
