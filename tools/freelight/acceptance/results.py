"""What finished parts found: one JSON file each, written at once, and a table of all."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freelight.benchmarks.machine import machine_facts
from freelight.shards import FreelightError
from freelight.shards.base import anything, atomic_write, flag, format_table, mapping, number, read_json, record, text

MAX_BYTES = 1 << 24
"""Maximum size of a file, bytes."""
RESULT = record(
    {
        "part": text(),
        "device": text(),
        "quick": flag,
        "passed": flag,
        "seconds": number(least=0),
        "reason": text(),
        "figures": mapping(text()),
        "found": mapping(anything),
    },
    others=anything,
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a part found. reason: why it failed, or "". figures: for the table, name to text. found: all else."""

    part: str
    passed: bool
    seconds: float
    reason: str
    figures: dict[str, str]
    found: dict[str, Any]


class Results:
    """The folder `out/parts`. A part's file exists once the part is finished; delete it to do the part again.

    settings: of the session, `device` and `quick`; without them, results of any session are read.
    """

    def __init__(self, out: Path, **settings: str | bool) -> None:
        self.folder = out / "parts"
        self._settings = settings

    def load(self, part: str) -> Result | None:
        """Return a part's result; None if it is not finished.

        Raises `FreelightError` if the file is damaged, or of a session with another device or other sizes.
        """
        path = self._path(part)
        try:
            content: dict[str, Any] = read_json(path, RESULT, remedy="delete it to do the part again", limit=MAX_BYTES)
        except FileNotFoundError:
            return None
        for name, value in self._settings.items():
            if content[name] != value:
                raise FreelightError(f"{path} has `{name}` {content[name]}, not {value}; give another `out`")
        return Result(**{name: content[name] for name in ("part", "passed", "seconds", "reason", "figures", "found")})

    def save(self, result: Result) -> None:
        """Write a part's result, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {**self._settings, "machine": machine_facts(())}
        with atomic_write(self._path(result.part)) as file:
            file.write(json.dumps({**vars(result), **facts}, indent=1, default=str).encode() + b"\n")

    def table(self, parts: Iterable[str]) -> str:
        """Return the results so far as text: a row for each figure."""
        rows = []
        for part in parts:
            result = self.load(part)
            if result is None:
                rows.append((part, "", "", "not finished"))
                continue
            verdict = "passed" if result.passed else f"FAILED: {result.reason}"
            rows.append((part, f"{result.seconds:.0f} s", "", verdict))
            rows += [("", "", value, name) for name, value in result.figures.items()]
        return format_table(("part", "time", "measured", ""), rows)

    def content(self, parts: Iterable[str]) -> dict[str, Any]:
        """Return the results so far as plain data: of each part all but what fills pages, or None."""
        loaded = {part: self.load(part) for part in parts}
        names = ("passed", "seconds", "reason", "figures")
        found = {part: result and {name: getattr(result, name) for name in names} for part, result in loaded.items()}
        return {"folder": str(self.folder), "parts": found}

    def _path(self, part: str) -> Path:
        return self.folder / f"{part}.json"
