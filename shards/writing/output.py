"""Where a dataset is written: a folder, or the URL of an object store, to which each finished file is uploaded."""

import functools
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..base import (
    MAX_JSON,
    FreelightError,
    StorageOptions,
    ask_store,
    fetch_file,
    fsync_folder,
    hash_file,
    is_plain_name,
    naming_file,
    open_forward,
)
from ..dataset import MANIFEST, sizes_in
from ..sources import OrderedSource, Source
from .descriptions import INFO
from .plan import PARTIAL, PLAN
from .url_lock import is_lock, lock_url

T = TypeVar("T")

CHUNK = 1 << 20
BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss")
"""Protocols whose first folder is a bucket. To make folders there would create a bucket whose name was mistyped."""

S3_PARTS = {"chunksize": 1 << 25, "max_concurrency": 4}
"""Files of 64 MB and more go up in parts of 32 MB, four at once: s3fs sends a file whole below two parts."""


@dataclass(frozen=True)
class Output:
    """An unfinished dataset directory.

    folder: the directory; or, if there is a `url`, a temporary folder that holds all files but the shards. Workers
    write shards inside `writing()`. Every other file that is written into `folder` must be published. options: as of
    `open_store`.
    """

    folder: Path
    url: str | None = None
    options: StorageOptions = None

    @property
    def where(self) -> Path | str:
        """The path or the URL, for messages."""
        return self.url or self.folder

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of the dataset's files, by name: from one listing, not a question for each."""
        if self.url is None:
            return sizes_in(self.folder)

        def sizes(files: Any, root: str) -> dict[str, int]:
            files.invalidate_cache()
            found = (entry for entry in files.ls(root, detail=True) if entry["type"] == "file")
            return {entry["name"].rpartition("/")[2]: int(entry["size"]) for entry in found}

        return _ask(self.url, sizes, self.options)

    def sha256(self, name: str) -> str | None:
        """Return the sha256 of a file, or None if it does not exist."""
        if self.url is None:
            return hash_file(self.folder / name) if (self.folder / name).is_file() else None

        def sha256(files: Any, root: str) -> str | None:
            digest = hashlib.sha256()
            try:
                with open_forward(files, f"{root}/{name}") as file:
                    while chunk := file.read(CHUNK):
                        digest.update(chunk)
            except FileNotFoundError:
                return None
            return digest.hexdigest()

        return _ask(self.url, sha256, self.options)

    @contextmanager
    def reading(self, name: str, size: int) -> Iterator[Path]:
        """Yield the path of a file on this machine. From a URL it is copied: at most `size` bytes."""
        if self.url is None:
            yield self.folder / name
            return
        with self.scratch() as folder:
            fetch_file(
                self.url, name, folder / name, sha256=None, limit=size, remedy="repair it first", options=self.options
            )
            yield folder / name

    def download_unfinished(self) -> None:
        """Download the manifest, its copy, and what a stopped run left at the URL, in place of what is here.

        Raises `FreelightError` if other files are there.
        """
        assert self.url is not None
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / PARTIAL).mkdir(parents=True)
        found = {name: size for name, size in _ask(self.url, _find, self.options).items() if not is_lock(name)}
        # A store may list any name, also one with "..": no other is copied to this machine.
        wanted = {name: size for name, size in found.items() if name in (MANIFEST, INFO) or _is_unfinished(name)}
        if found and not {MANIFEST, INFO, f"{PARTIAL}/{PLAN}"} & set(wanted):
            raise FreelightError(f"`out` {self.url} is not empty and was not started by make_shards; choose another")
        for name, size in wanted.items():
            if size > MAX_JSON:
                raise FreelightError(
                    f"{self.url}/{name} has more than {MAX_JSON} bytes, the limit of such a file; delete it"
                )
        for name, content in _ask(self.url, functools.partial(_read, wanted), self.options).items():
            with naming_file(self.folder / name):
                (self.folder / name).write_bytes(content)

    @contextmanager
    def locked(self) -> Iterator[Callable[[], None]]:
        """Keep other runs from writing to the URL, if there is one.

        Yields a function that raises `FreelightError` if another run has taken the lock over. Raises that if another
        run holds it.
        """
        if self.url is None:
            yield lambda: None
            return
        url, options = self.url, self.options
        with lock_url(url, lambda work: _ask(url, work, options), options) as lock:
            if lock.waited:
                self.download_unfinished()
            yield lock.check

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty folder on this machine, from which `put` takes files."""
        home = self.folder / PARTIAL
        with tempfile.TemporaryDirectory(dir=home if home.is_dir() else None) as folder:
            yield Path(folder)

    def put(self, path: Path) -> None:
        """Move a file from `scratch()` into the dataset, where it replaces one of the same name."""
        if self.url is None:
            os.replace(path, self.folder / path.name)
            fsync_folder(self.folder)
        else:
            self._upload(path, path.name)

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

            def remove(files: Any, root: str) -> None:
                if files.exists(f"{root}/{name}"):
                    files.rm(f"{root}/{name}", recursive=True)

            _ask(self.url, remove, self.options)

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Yield a folder in which to write files: the dataset's; or of a URL a new one, for `upload`."""
        if self.url is None:
            yield self.folder
            return
        # Within this run's temporary folder, which is removed even if this worker is killed; elsewhere on a cluster.
        home = self.folder.parent if self.folder.parent.is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="freelight-", dir=home))
        try:
            (folder / PARTIAL).mkdir()
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def upload(self, folder: Path, *names: str, stop: threading.Event) -> None:
        """Upload files of a `new_folder()` to the URL, in this order, and delete the folder. stop: as of `retry`."""
        try:
            for name in names:
                self._upload(folder / name, name, stop)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _upload(self, path: Path, name: str, stop: threading.Event | None = None) -> None:
        assert self.url is not None
        protocol = self.url.partition("://")[0]
        has_folders = protocol not in BUCKETS
        parts = S3_PARTS if protocol in ("s3", "s3a") else {}

        def upload(files: Any, root: str) -> None:
            if has_folders:
                files.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            files.put_file(str(path), f"{root}/{name}", **parts)

        _ask(self.url, upload, self.options, stop)


@contextmanager
def open_output(out: Path | str, storage_options: StorageOptions = None) -> Iterator[Output]:
    """Yield the output at a path or URL. Of a URL, download the manifest, its copy, and what a stopped run left."""
    if "://" not in str(out):
        yield Output(Path(out).absolute())
        return
    url = str(out).rstrip("/")
    with tempfile.TemporaryDirectory(prefix="freelight-") as temporary:
        output = Output(Path(temporary) / url.rpartition("/")[2], url, storage_options)
        output.download_unfinished()
        yield output


def refuse_output_within(source: Source | OrderedSource, out: Path | str) -> None:
    """Raise `FreelightError` if `out` lies within the folder of a source that is listed file by file."""
    if isinstance(source, OrderedSource) or not source.has_loose_files or "://" in str(out):
        return
    if Path(out).resolve().is_relative_to(source.root.resolve()):
        raise FreelightError(
            f"`out` {Path(out).absolute()} lies within `images` {source.root.absolute()}, so the next listing would "
            "include it; choose another `out`"
        )


def _is_unfinished(name: str) -> bool:
    """Tell whether a name is that of a file in `PARTIAL`."""
    folder, _, file = name.partition("/")
    return folder == PARTIAL and is_plain_name(file)


def _read(sizes: dict[str, int], files: Any, root: str) -> dict[str, bytes]:
    """Return the contents of files by name, of each at most its size; over several connections, if the store has it."""
    names = [name for name, size in sizes.items() if size]  # a store may refuse a part of nothing
    paths, ends = [f"{root}/{name}" for name in names], [sizes[name] for name in names]
    contents = files.cat_ranges(paths, [0] * len(paths), ends, on_error="raise")
    return {**dict.fromkeys(sizes, b""), **dict(zip(names, contents, strict=True))}


def _find(files: Any, root: str) -> dict[str, int]:
    """Return the sizes in bytes of all files below `root`, by their paths relative to it."""
    files.invalidate_cache()
    found = files.find(root, detail=True) if files.exists(root) else {}
    return {str(path)[len(root) :].lstrip("/"): int(info["size"]) for path, info in found.items()}


def _ask(url: str, work: Callable[[Any, str], T], options: StorageOptions, stop: threading.Event | None = None) -> T:
    """Return `work(file system, path)`. Raises `FreelightError` if the store fails, or has no such bucket."""
    bucket = url.partition("://")[2].partition("/")[0]
    what = f"{url} cannot be written"
    missing = f"{what}: there is no bucket {bucket!r}; create it with the store's own tool, or correct the name"
    return ask_store(url, work, what, missing=missing, options=options, stop=stop)
