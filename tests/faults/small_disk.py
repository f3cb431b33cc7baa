"""A small disk for commands to fill, or to find read-only: a tmpfs in a mount namespace of its own."""

import os
import subprocess
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs that is mounted on `path` for the commands that `prefix` starts; the test sees it as `seen`.

    Root may mount it; another user needs a system that lets users make namespaces.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        script = 'mount -t tmpfs -o size=64m tmpfs "$0" && echo mounted && exec sleep infinity'
        words = ["unshare", "--mount", *as_root, "sh", "-c", script, str(path)]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        mounted = self._holder.stdout.readline() == "mounted\n"
        self._holder.stdout.close()
        if not mounted:
            reason = self._holder.communicate()[1].strip()
            assert os.geteuid() != 0, reason
            pytest.skip(f"no namespace to mount a small disk in: {reason}")
        of_user = ["--user", "--preserve-credentials"] if as_root else []
        self.prefix = ["nsenter", "--target", str(self._holder.pid), *of_user, "--mount", "--"]
        self.seen = Path(f"/proc/{self._holder.pid}/root{path}")

    def resize(self, size: int) -> None:
        """Change the size of the disk, bytes. Raises an error if more is used."""
        self._remount(f"size={size}")

    def leave(self, free: int) -> None:
        """Leave so many bytes free."""
        status = os.statvfs(self.seen)
        self.resize((status.f_blocks - status.f_bfree) * status.f_frsize + free)

    def make_read_only(self) -> None:
        """Refuse all writes from now on."""
        self._remount("ro")

    def make_writable(self) -> None:
        """Allow writes again."""
        self._remount("rw")

    def close(self) -> None:
        """Unmount it."""
        self._holder.kill()
        self._holder.communicate()

    def _remount(self, option: str) -> None:
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{option}", str(self.path)], check=True)
