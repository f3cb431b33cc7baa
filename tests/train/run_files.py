"""What a run left in its folder."""

from pathlib import Path


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}
