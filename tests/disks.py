"""Disks that refuse to write, for tests: a limit on the size of files, and a small disk."""

import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file that this process writes become larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_small_disk(
    disk: Path, size: str, words: Sequence[str | Path], *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command while the folder `disk` is a disk of `size` (as "3m"), which holds the folder's files.

    Afterwards the folder holds what was on the disk. Needs the right to mount, which root has, or user namespaces.
    """
    kept = disk.with_name(f"{disk.name}-kept")
    script = f"""
        cp -a '{disk}' '{kept}' && mount -t tmpfs -o size={size} none '{disk}' && cp -a '{kept}/.' '{disk}' || exit 99
        "$@"
        code=$?
        rm -r '{kept}' && cp -a '{disk}' '{kept}' || exit 99
        exit $code
    """
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *map(str, words)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 99, f"no small disk could be mounted: {done.stderr}"
    subprocess.run(["rm", "-r", disk], check=True)
    kept.rename(disk)
    return done
