"""Where a dataset is written: a folder, or the URL of an object store, which gets each file whole."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from ..base.errors import FreelightError
from ..dataset.directory import MANIFEST
from .plan import PARTIAL, PLAN


@dataclass(frozen=True)
class Output:
    """A dataset directory in the making. `folder` holds it, or with `url` the small files of it, for this run.

    A worker writes a shard into `writing()`; whatever else is written into `folder` must be published.
    """

    folder: Path
    url: str | None = None

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None when it is not there."""
        if self.url is None:
            return (self.folder / name).stat().st_size if (self.folder / name).is_file() else None
        files, root = self._files()
        return int(files.size(f"{root}/{name}")) if files.exists(f"{root}/{name}") else None

    def publish(self, *names: str) -> None:
        """Put files of `folder` at the URL, in this order."""
        for name in names if self.url is not None else ():
            self._put(self.folder / name, name)

    def remove(self, name: str) -> None:
        """Remove a file or folder, here and at the URL; it need not be there."""
        if (self.folder / name).is_dir():
            shutil.rmtree(self.folder / name)
        (self.folder / name).unlink(missing_ok=True)
        if self.url is not None:
            files, root = self._files()
            if files.exists(f"{root}/{name}"):
                files.rm(f"{root}/{name}", recursive=True)

    @contextmanager
    def writing(self, *names: str) -> Iterator[Path]:
        """Yield a folder in which to write the files `names`; at a URL they appear in this order when it ends."""
        if self.url is None:
            yield self.folder
            return
        with tempfile.TemporaryDirectory(prefix="freelight-") as temporary:
            (Path(temporary) / PARTIAL).mkdir()
            yield Path(temporary)
            for name in names:
                self._put(Path(temporary) / name, name)

    def _put(self, path: Path, name: str) -> None:
        files, root = self._files()
        files.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        files.put_file(str(path), f"{root}/{name}")

    def _files(self) -> tuple[Any, str]:
        assert self.url is not None
        return _open_url(self.url)


@contextmanager
def open_output(out: Path | str) -> Iterator[Output]:
    """Yield the output at a path or URL. What a run began at a URL is fetched, but for the shards themselves."""
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
            raise FreelightError(f"--out {url} is not empty and was not begun by make_shards; choose another")
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            files.get_file(f"{root}/{name}", str(folder / name))
        yield Output(folder, url)


def _open_url(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it. Raises `FreelightError` where its library is missing."""
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise FreelightError(f"--out {url} cannot be written: {error}") from None
    return files, str(root).rstrip("/")
