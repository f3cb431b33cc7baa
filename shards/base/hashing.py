"""The sha256 of a file."""

import hashlib
from pathlib import Path


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
