"""A finished dataset directory: what the offline tools write, and the pipeline and the trainer read."""

import copy
import os
import re
from pathlib import Path

from ..base import FETCH_TIMEOUT, FreelightError, StorageOptions, hash_file
from .cache import ShardCache
from .manifest import MANIFEST, Manifest, parent_name
from .schema import REMEDY
from .split import Split


class Dataset:
    """A finished dataset directory: its `manifest`, and its splits by name. place: its path or URL, as given.

    folder: a path, or a URL that fsspec reads (s3://...). Shards of a URL are copied into the local folder `cache`
    before they are needed; it keeps at most `cache_bytes` of them. Read such a dataset in the order `windowed` or
    `sequential`, or make the cache as large as the dataset: a global order needs every shard at any time. A store that
    fails is asked again; fetch_timeout: seconds after which a part of 8 MB of a shard that does not come is given up. A
    split of `index_shards` whose tars lie behind a URL has a part of the cache to itself, of the same size.
    storage_options: arguments of fsspec's file system for the URL, beside fsspec's own configuration. `open_dataset`
    also reads a URL without a cache.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int = 10**11,
        fetch_timeout: float = FETCH_TIMEOUT,
        storage_options: StorageOptions = None,
    ) -> None:
        self.cache: ShardCache | None = None
        self.place = str(folder).rstrip("/") or "/"
        self._whole: Manifest | None = None
        self.folder = Path(folder).absolute()  # the working folder may change later
        if "://" in str(folder):
            if cache is None:
                raise FreelightError(f"{folder} is remote; give `cache`, a local folder for its shards")
            self.cache = ShardCache(
                str(folder),
                Path(cache).absolute(),
                cache_bytes,
                manifest=MANIFEST,
                optional=("statistics.npz", "statistics.json"),
                options=storage_options,
                fetch_timeout=fetch_timeout,
            )
            self.folder = self.cache.folder
        elif re.match(r"[a-z][a-z0-9+.-]+:/[^/]", self.place) and not self.folder.exists():
            raise FreelightError(f"{folder} was a URL before `Path` changed it; give it as text")
        self.manifest = Manifest.load(self.folder, where=self.place)
        self.storage_options = storage_options
        self._cache_place = None if cache is None else Path(cache).absolute()
        self._cache_bytes = cache_bytes
        self._fetch_timeout = fetch_timeout
        for name, split in self.manifest.splits.items():
            # It is no safer than its sender: it could make this machine read any address.
            if self.cache is not None and split.base is not None:
                raise FreelightError(
                    f"{folder}: the split {name!r} has its shards at another place ({split.base}), which only a "
                    "manifest on this machine may say; copy the shards beside the manifest"
                )

    def limit_cache(self, cache_bytes: int) -> None:
        """Change `cache_bytes`."""
        self._cache_bytes = cache_bytes
        if self.cache is not None:
            self.cache.limit = cache_bytes

    def part(self, fingerprint: str) -> "Dataset":
        """Return the dataset as it was before pictures were appended, when it had this fingerprint; or itself.

        Raises `FreelightError` if it never had it, or if the manifest of then is missing or changed.
        """
        if fingerprint == self.fingerprint:
            return self
        if fingerprint not in self.parents:
            raise FreelightError(f"{self.place} never had the fingerprint {fingerprint[:12]}; open another dataset")
        name = parent_name(fingerprint)
        sha256 = self.manifest.files.get(name)
        if self.cache is not None:
            self.cache.fetch(name, sha256=sha256)
        if not (self.folder / name).is_file() or hash_file(self.folder / name) != sha256:
            raise FreelightError(f"{self.place}/{name} is missing or changed; {REMEDY}")
        part, whole = copy.copy(self), self._whole or self.manifest
        part.manifest, part._whole = Manifest.load(self.folder, name), whole
        for split, info in part.manifest.splits.items():
            if split not in whole.splits or info.shards != whole.splits[split].shards[: len(info.shards)]:
                raise FreelightError(f"{self.place}/{name}: its split {split!r} is no part of the dataset's; {REMEDY}")
        return part

    @property
    def is_part(self) -> bool:
        """Whether this is a dataset as it was before pictures were appended."""
        return self._whole is not None

    @property
    def parents(self) -> tuple[str, ...]:
        """The fingerprints that the dataset had before pictures were appended, oldest first; see `part`."""
        return tuple(appended.parent for appended in self.manifest.appended)

    @property
    def image_size(self) -> int | None:
        """Side of the images, pixels, if all are squares of one size, else None."""
        return self.manifest.image_size

    def require_squares(self) -> int:
        """Return `image_size`. Raises `FreelightError` if the images are not squares of one size."""
        if self.image_size is None:
            raise FreelightError(
                f"{self.place} has images of several sizes, but squares are needed; "
                "make squares with: freelight make-shards --images IMAGES --out SQUARES --geometry square"
            )
        return self.image_size

    @property
    def fingerprint(self) -> str:
        """`Manifest.fingerprint`."""
        return self.manifest.fingerprint

    def split(self, name: str) -> Split:
        """Open the split `name`. Raises `FreelightError` with the list of splits if there is no such split."""
        if name not in self.manifest.splits:
            raise FreelightError(f"{self.place} has no split {name!r}; it has: {', '.join(self.manifest.splits)}")
        info, classes = self.manifest.splits[name], len(self.manifest.classes)
        cache = self.cache
        if info.base is not None and self._cache_place is not None:
            hashes = "".join(shard.sha256 for shard in info.shards)
            cache = ShardCache(
                info.base,
                self._cache_place,
                self._cache_bytes,
                identity=hashes.encode(),
                options=self.storage_options,
                fetch_timeout=self._fetch_timeout,
            )
        whole = self._whole or self.manifest
        return Split(
            self.folder,
            name,
            whole.splits[name],
            classes=classes,
            image_size=whole.image_size,
            cache=cache,
            part=info if self._whole is not None else None,
        )
