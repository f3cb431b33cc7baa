"""What the tests of making datasets share: quick settings, sources, and helpers to compare folders."""

from pathlib import Path

from freelight.shards import Rescaling, ShardSettings, Source, list_images

SMALL = ShardSettings(rescaling=Rescaling(size=32), samples_per_shard=8)


class Stop(Exception):  # noqa: N818 - no error of the program's
    """Stops a job early."""


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Return the inode and time of every file: they change if a file is written again."""
    found = {path: path.stat() for path in sorted(root.rglob("*")) if path.is_file()}
    return {str(path.relative_to(root)): (status.st_ino, status.st_mtime_ns) for path, status in found.items()}


def source_of(pictures: Path) -> Source:
    return list_images(pictures, val_fraction=None, class_names=pictures / "class-names.tsv", seed=0)


def listed(images: Path) -> Source:
    return list_images(images, val_fraction=None, class_names=None, seed=0)
