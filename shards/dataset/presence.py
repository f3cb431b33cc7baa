"""Compare the files of a finished dataset with its manifest by name and size, which needs no reading."""

import os
from collections.abc import Mapping
from pathlib import Path

from ..base import FreelightError
from .manifest import Manifest


def sizes_in(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file in a folder, by name; of a link that of its target, if there is one."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def check_presence(manifest: Manifest, sizes: Mapping[str, int], where: object, *, remedy: str) -> None:
    """Raise `FreelightError` if a file that the manifest lists is not there, or if a shard has another size.

    sizes: of the files at `where`, bytes by name.
    """
    expected: dict[str, int | None] = dict.fromkeys(manifest.files)
    for split in manifest.splits.values():
        expected |= dict.fromkeys(split.files)
        if split.base is None:
            expected |= {shard.name: shard.bytes for shard in split.shards}
    faults = [
        f"{name} is missing" if name not in sizes else f"{name} has {sizes[name]} bytes, not {size}"
        for name, size in expected.items()
        if name not in sizes or size not in (None, sizes[name])
    ]
    if faults:
        more = len(faults) - 1
        others = f", and {more} other file{'s are' * (more > 1) or ' is'} missing or cut short" if more else ""
        raise FreelightError(f"{where}: {faults[0]}{others}; {remedy}")
