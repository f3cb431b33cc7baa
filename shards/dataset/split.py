"""One split of a dataset: its samples table, and each sample's JPEG, read with one `pread` and checked."""

import bisect
import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base import FreelightError, UnavailableError, anything, crc32, open_descriptor, parse_json
from ..images import FrameReader, decode_picture, read_header
from .ahead import FetchAhead
from .cache import ShardCache
from .fields import Field, read_field
from .manifest import SplitInfo, metadata_name, samples_name, sources_name
from .spans import spans_of
from .stretches import StretchReader
from .tables import read_keys, read_metadata_table, read_samples, read_sources
from .uses import ShardUses, uses_of

OPEN_FILES = 512
"""Maximum number of open shards. The usual limit of a process is 1,024 files."""


class Split:
    """One split of a dataset: `samples` is its table (dtype `SAMPLE`), `read(i)` the checked JPEG bytes of sample i."""

    def __init__(
        self,
        folder: Path,
        name: str,
        info: SplitInfo,
        *,
        classes: int,
        image_size: int | None,
        cache: ShardCache | None = None,
        part: SplitInfo | None = None,
    ) -> None:
        """info: what the tables hold. part: the split before pictures were appended, if it is opened as it was."""
        self.folder = folder
        self.name = name
        self.info = part or info
        self._whole = info
        self.cache = cache
        if cache is not None and info.base is None:
            for file, sha256 in info.files.items():
                # Only keys need the indexes, one for each shard, and only messages the list of sources.
                if not file.endswith(".idx") and file != sources_name(name):
                    cache.fetch(file, sha256=sha256)
        self._table = read_samples(folder / samples_name(name), info, classes, image_size)
        self.samples = self._table[: self.info.samples]
        self._descriptors: dict[int, int] = {}  # by shard
        self._uses = ShardUses([], {}, {})
        self._step = self._begun = self._released = 0
        self._ahead: FetchAhead | None = None
        self._stretches: StretchReader | None = None
        self._frames = FrameReader()

    @property
    def place(self) -> object:
        """Where the shards lie, for messages: a folder or a URL."""
        return self.info.base or (self.folder if self.cache is None else self.cache.url)

    def __len__(self) -> int:
        return len(self.samples)

    @functools.cached_property
    def sources(self) -> list[str]:
        """The source path of each sample, in sample order."""
        name = sources_name(self.name)
        self._fetch_file(name)
        return read_sources(self.folder / name, self._whole.samples)[: len(self)]

    @functools.cached_property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Height and width of each sample's picture: (n, 2), pixels."""
        return np.stack([self.samples[side].astype(np.int32) for side in ("height", "width")], axis=1)

    def key(self, index: int) -> str:
        """Return the WebDataset key of sample `index`, as its shard's `.idx` has it."""
        index = range(len(self))[index]
        shard = int(self.samples["shard"][index])
        first = int(np.searchsorted(self.samples["shard"], shard))
        return self._keys_of(shard)[index - first]

    def keys(self) -> Iterator[str]:
        """Yield the keys of all samples, in sample order."""
        for shard in range(len(self.info.shards)):
            yield from self._keys_of(shard)

    def _keys_of(self, shard: int) -> Sequence[str]:
        name = self.info.index_name(self.name, shard)
        self._fetch_file(name)
        return read_keys(self.folder / name, self.info.shards[shard].samples, indexed=self.info.indexed)

    def _fetch_file(self, name: str) -> None:
        """Fetch a file that lies beside remote shards, unless it is there."""
        if self.cache is not None and self.info.base is None:
            self.cache.fetch(name, sha256=self._whole.files.get(name))

    def read(self, index: int) -> bytes:
        """Return the JPEG bytes of sample `index`.

        Raises `FreelightError` if the shard is cut short or changed, or if the JPEG declares another size: a decoder
        takes memory for what a header declares.

        If it is the copy of a remote dataset's shard that is damaged, the shard is fetched again first.
        """
        data, fault = self._read(index)
        remedy = f"repair it with: freelight make-shards --images IMAGES --out {self.folder} --repair"
        again = "copy the dataset there again"
        if self.info.indexed:
            remedy = again = "put the original tar back, or index the tars again"
        if fault is not None and self.cache is not None:
            shard = int(self.samples["shard"][index])
            os.close(self._descriptors.pop(shard))
            self.cache.drop_if_damaged(self.info.shards[shard])
            data, fault = self._read(index)
            remedy = f"it was fetched again: check the disk of the cache {self.cache.folder}, or {again}"
        if fault is not None:
            raise FreelightError(f"{self.describe(index)} is {fault}; {remedy}")
        return data

    def read_all(
        self, indices: npt.NDArray[np.integer], memory: Callable[[int], npt.NDArray[np.uint8]]
    ) -> list[npt.NDArray[np.uint8] | None]:
        """Return the JPEGs of these samples, at least one, in one array. `read` must try those that are None.

        memory: returns an array of so many bytes. Neighbours in a shard are read at once, with what lies between them.
        Shards are read in the order in which they are fetched, so that those of a step need not all be in the cache.
        Raises `UnavailableError` if a remote shard cannot be fetched.
        """
        rows = self.samples[indices]
        shards, offsets, firsts, stops, begins, ends = spans_of(rows)
        checksums, heights, widths = (rows[name].tolist() for name in ("crc32", "height", "width"))
        piece = memory(ends[-1])
        found: list[npt.NDArray[np.uint8] | None] = [None] * len(rows)  # arrays: the garbage collector counts none
        spans = list(zip(shards, offsets, firsts, stops, strict=True))
        if self._ahead is not None:
            spans.sort(key=lambda span: self._place(span[0]))
        for shard, offset, first, stop in spans:
            begin = begins[first]
            try:
                stored = begin + os.preadv(self._descriptor(shard), [piece[begin : ends[stop - 1]].data], offset)
            except UnavailableError:
                raise
            except (FreelightError, OSError):
                stored = begin
            for row in range(first, stop):
                data = piece[begins[row] : ends[row]]
                is_right = (
                    ends[row] <= stored
                    and crc32(data) == checksums[row]
                    and self._fault_of_size(data, heights[row], widths[row]) is None
                )
                found[row] = data if is_right else None
        return found

    def _read(self, index: int) -> tuple[bytes, str | None]:
        """Return the JPEG bytes of sample `index`, and what is wrong with them, if anything."""
        row = self.samples[index]
        length = int(row["length"])
        data = os.pread(self._descriptor(int(row["shard"])), length, int(row["offset"]))
        if len(data) != length:
            return data, f"cut short ({len(data)} of {length} bytes)"
        if crc32(data) != row["crc32"]:
            return data, "changed (crc32 differs)"
        return data, self._fault_of_size(data, int(row["height"]), int(row["width"]))

    def _fault_of_size(self, data: bytes | npt.NDArray[np.uint8], height: int, width: int) -> str | None:
        """Return what is wrong with the bytes of a picture that must have this size, pixels, or None."""
        frame = self._frames.read(data)
        if frame == (height, width, 3) or frame == (height, width, 1):
            return None
        if self.info.indexed:
            return _fault_of_header(bytes(data), height, width)
        found = "its header is damaged" if frame is None else "it declares {} x {} of {} components".format(*frame)
        return f"no RGB or grey JPEG of {height} x {width} pixels ({found})"

    @functools.cached_property
    def metadata_table(self) -> npt.NDArray[np.void] | None:
        """Where the `.json` of each sample lies in its shard: dtype `METADATA`, (n,). None if no sample has one."""
        path = self.folder / metadata_name(self.name)
        if path.name not in self._whole.files:
            return None
        return read_metadata_table(path, self._whole, self._table["shard"])[: len(self)]

    def metadata(self, index: int) -> Any:
        """Return the content of the `.json` of sample `index`; None if it has none.

        Raises `FreelightError` if it is no JSON, or cut short.
        """
        if self.metadata_table is None or not self.metadata_table["length"][index]:
            return None
        offset, length = self.metadata_table[index].tolist()
        data = os.pread(self._descriptor(int(self.samples["shard"][index])), length, offset)
        remedy = "put the shard back as it was"
        return parse_json(data, anything, where=f"the .json of {self.describe(index)}", remedy=remedy)

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        """The numeric fields, by name: see `index_shards`; read on first use."""
        return {name: read_field(self.folder, self.name, self.info, name) for name in self.info.fields}

    def field(self, name: str, index: int) -> npt.NDArray[Any]:
        """Return the rows of sample `index` in the field `name`: an array (rows, ...), of no rows if it has none.

        Boxes are float32 (rows, 4): x1, y1, x2, y2 in pixels of the upright picture.
        """
        if name not in self.fields:
            found = ", ".join(self.fields) or "none"
            raise FreelightError(f"{self.place} has no field {name!r} of {self.name}; its fields: {found}")
        return self.fields[name].of(np.array([range(len(self))[index]]))[0]

    def decode(self, index: int, jpeg: bytes) -> Image.Image:
        """Return the upright RGB picture of sample `index`, decoded by Pillow from the bytes that `read` returned."""
        try:
            if self.info.indexed:
                return decode_picture(jpeg)
            picture = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
            picture.load()
            return picture if picture.mode == "RGB" else picture.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, FreelightError) as error:
            remedy = "index the tars with `check` decode" if self.info.indexed else "make the dataset again"
            raise FreelightError(f"{self.describe(index)} does not decode ({error}); {remedy}") from None

    def describe(self, index: int) -> str:
        """Return a sample's shard, key and source path, for messages; without what cannot be read."""
        shard = self.info.shards[int(self.samples["shard"][index])].name
        key, source = f"in row {index}", "an unknown source"
        with contextlib.suppress(FreelightError, OSError):
            key = self.key(index)
        with contextlib.suppress(FreelightError, OSError):
            source = self.sources[index]
        return f"{self.place}/{shard}: sample {key} (from {source})"

    @property
    def is_remote(self) -> bool:
        """Whether shards lie behind a URL and are copied to a cache."""
        return self.cache is not None

    def start(
        self,
        samples: npt.NDArray[np.integer],
        steps: Sequence[int],
        *,
        window: int | None = None,
        processes: int = 1,
    ) -> None:
        """Say which samples will be read, in order; steps: how many in each step. Remote shards are fetched ahead.

        window: number of shards that a local disk reads ahead, whole, while samples are read from them. processes:
        how many of this machine read samples of these same steps.
        """
        if self.cache is None and window is None:
            return
        self.close()
        self._step = self._begun = self._released = 0
        self._uses = uses_of(self.samples["shard"][samples], steps)
        if self.cache is not None:
            shards = [self.info.shards[shard] for shard in self._uses.order]
            self._ahead = FetchAhead(self.cache, shards, processes=processes)
        elif window is not None:
            self._stretches = StretchReader()
            self._begin(window + 1)

    def end_step(self) -> None:
        """Count a step of `start` whose samples were read. Shards that no further step uses are released."""
        finished = self._uses.finished.get(self._step, ())
        self._release(len(finished))
        self._step += 1
        self._released = 0
        self._begin(len(finished))

    def _release(self, stop: int) -> None:
        """Close the first shards of those that this step is the last to use, up to `stop`, and need them no more."""
        released = self._uses.finished.get(self._step, ())[self._released : stop]
        self._released += len(released)
        for shard in released:
            if shard in self._descriptors:
                os.close(self._descriptors.pop(shard))
        if released and self._ahead is not None:
            self._ahead.finish([self.info.shards[shard] for shard in released])

    def _place(self, shard: int) -> int:
        """Return a shard's place in the order in which shards are fetched; 0 if it is not among them."""
        return self._uses.places.get(shard, 0)

    def _begin(self, shards: int) -> None:
        """Let the next shards of a local folder be read ahead."""
        if self._stretches is not None:
            for shard in self._uses.order[self._begun : self._begun + shards]:
                info = self.info.shards[shard]
                self._stretches.read(self.folder / info.name, info.bytes)
            self._begun += shards

    def prefetch(self, indices: npt.NDArray[np.integer]) -> None:
        """Ask the kernel to fetch these samples in the background, if the shards lie on this machine."""
        self.require_cache()
        if self.cache is None:
            for shard, offset, length in self.samples[["shard", "offset", "length"]][indices].tolist():
                os.posix_fadvise(self._descriptor(shard), offset, length, os.POSIX_FADV_WILLNEED)

    def require_cache(self) -> None:
        """Raise `FreelightError` if the shards lie behind a URL of their own, and no cache was given."""
        if self.info.base is not None and self.cache is None:
            raise FreelightError(
                f"the tars of {self.name} lie at {self.info.base}; give `cache`, a local folder for copies of them"
            )

    def close(self) -> None:
        """Close the shards' file descriptors and end what `start` began. A later `read` opens the shards again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        for ahead in (self._ahead, self._stretches):
            if ahead is not None:
                ahead.close()
        self._ahead = self._stretches = None
        self._uses = ShardUses([], {}, {})

    def _descriptor(self, shard: int) -> int:
        if shard not in self._descriptors:
            while len(self._descriptors) >= OPEN_FILES:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            opened = self._open(shard)
            if self.cache is not None and self._ahead is None:
                self._close_deleted()
            self._descriptors[shard] = opened
        return self._descriptors[shard]

    def _close_deleted(self) -> None:
        """Close the shards that the cache has deleted, which take room on its disk for as long as they are open."""
        for shard, descriptor in list(self._descriptors.items()):
            if not os.fstat(descriptor).st_nlink:
                os.close(self._descriptors.pop(shard))

    def _open(self, shard: int) -> int:
        info = self.info.shards[shard]
        if self.cache is not None:
            if self._ahead is not None:
                # A step reads shards in the order in which they are fetched, so it has read those before this one.
                finished = self._uses.finished.get(self._step, ())
                self._release(bisect.bisect_left(finished, self._place(shard), key=self._place))
                self._ahead.wait(info)
            return self.cache.open_shard(info)
        self.require_cache()
        path = self.folder / info.name
        try:
            return open_descriptor(path, remedy="copy it back")
        except FileNotFoundError:
            raise FreelightError(f"{describe_missing(path)}, though the manifest lists it; copy it back") from None

    def __getstate__(self) -> dict[str, Any]:
        # The same number is another file in another process.
        return {**self.__dict__, "_descriptors": {}, "_ahead": None, "_stretches": None}

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.close()


def describe_missing(path: Path) -> str:
    """Say that a shard is missing, and where it was if the dataset holds a link to it."""
    where = f", a link to {os.readlink(path)}," if path.is_symlink() else ""
    return f"{path}{where} is missing"


def _fault_of_header(data: bytes, height: int, width: int) -> str | None:
    """Return what is wrong with a picture that must have this size upright, pixels, or None."""
    try:
        found = read_header(data)
    except FreelightError as error:
        return f"no picture of {height} x {width} pixels ({error})"
    if (found.height, found.width) != (height, width):
        return f"no picture of {height} x {width} pixels (it declares {found.height} x {found.width})"
    return None
