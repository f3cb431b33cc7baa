"""Where a dataset is written: a folder, or the URL of an object store, to which each finished file is uploaded."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import FreelightError
from ..dataset import MANIFEST
from .plan import PARTIAL, PLAN


@dataclass(frozen=True)
class Output:
    """An unfinished dataset directory.

    folder: the directory; or, if there is a `url`, a temporary folder that holds all files but the shards. Workers
    write shards inside `writing()`. Every other file that is written into `folder` must be published.
    """

    folder: Path
    url: str | None = None

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None if it does not exist."""
        if self.url is None:
            return (self.folder / name).stat().st_size if (self.folder / name).is_file() else None
        files, root = self._files()
        return int(files.size(f"{root}/{name}")) if files.exists(f"{root}/{name}") else None

    def publish(self, *names: str) -> None:
        """Upload files of `folder` to the URL, if there is one, in this order."""
        if self.url is not None:
            for name in names:
                self._upload(self.folder / name, name)

    def remove(self, name: str) -> None:
        """Delete a file or folder, in `folder` and at the URL, if it exists."""
        if (self.folder / name).is_dir():
            shutil.rmtree(self.folder / name)
        (self.folder / name).unlink(missing_ok=True)
        if self.url is not None:
            files, root = self._files()
            if files.exists(f"{root}/{name}"):
                files.rm(f"{root}/{name}", recursive=True)

    @contextmanager
    def writing(self, *names: str) -> Iterator[Path]:
        """Yield a folder in which to write the files `names`. At the end upload them to the URL, in this order."""
        if self.url is None:
            yield self.folder
            return
        # Within this run's temporary folder, which is removed even if this worker is killed; elsewhere on a cluster.
        home = self.folder.parent if self.folder.parent.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="freelight-", dir=home) as temporary:
            (Path(temporary) / PARTIAL).mkdir()
            yield Path(temporary)
            for name in names:
                self._upload(Path(temporary) / name, name)

    def _upload(self, path: Path, name: str) -> None:
        files, root = self._files()
        files.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        files.put_file(str(path), f"{root}/{name}")

    def _files(self) -> tuple[Any, str]:
        assert self.url is not None
        return _open_url(self.url)


@contextmanager
def open_output(out: Path | str) -> Iterator[Output]:
    """Yield the output at a path or URL. Of an unfinished dataset at a URL, download every file but the shards."""
    if "://" not in str(out):
        yield Output(Path(out).absolute())
        return
    url = str(out).rstrip("/")
    files, root = _open_url(url)
    with tempfile.TemporaryDirectory(prefix="freelight-") as temporary:
        folder = Path(temporary) / url.rpartition("/")[2]
        files.invalidate_cache()
        found = [str(path)[len(root) :].lstrip("/") for path in files.find(root)] if files.exists(root) else []
        wanted = [name for name in found if name == MANIFEST or name.startswith(f"{PARTIAL}/")]
        if found and not {MANIFEST, f"{PARTIAL}/{PLAN}"} & set(wanted):
            raise FreelightError(f"`out` {url} is not empty and was not started by make_shards; choose another")
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            files.get_file(f"{root}/{name}", str(folder / name))
        yield Output(folder, url)


def _open_url(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it. Raises `FreelightError` if its library is not installed."""
    import fsspec  # here, because folders do not need it and it takes long to import

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise FreelightError(f"`out` {url} cannot be written: {error}") from None
    return files, str(root).rstrip("/")
