"""A split of several datasets: the samples of one after those of the other."""

import copy
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .fields import Field
from .manifest import SplitInfo, samples_name
from .split import Split


def joined_info(name: str, infos: Sequence[SplitInfo], labels: Sequence[npt.NDArray[np.int32]]) -> SplitInfo:
    """Return what a manifest would say of the split `name`. infos: of the parts. labels: as of `JoinedSplit`."""
    facts = [[info.files[samples_name(name)], own.tolist()] for info, own in zip(infos, labels, strict=True)]
    return SplitInfo(
        samples=sum(info.samples for info in infos),
        labelled=all(info.labelled for info in infos),
        rejected=sum(info.rejected for info in infos),
        per_class=None,
        kinds={},
        shards=tuple(shard for info in infos for shard in info.shards),
        files={samples_name(name): hashlib.sha256(json.dumps(facts).encode()).hexdigest()},
        indexed=any(info.indexed for info in infos),
    )


class JoinedSplit(Split):
    """The samples of `parts`, one after the other. labels: of each part, the label here of each of its own, -1 last.

    firsts: the index of each part's first sample, and the number of all samples.
    """

    def __init__(self, name: str, parts: Sequence[Split], labels: Sequence[npt.NDArray[np.int32]]) -> None:
        self.name = name
        self.folder = parts[0].folder
        self.cache = None
        self.parts = parts
        self._labels = labels
        self.firsts = np.cumsum([0, *map(len, parts)])
        self.samples = np.concatenate([part.samples for part in parts])
        shards = 0
        for part, own, first in zip(parts, labels, self.firsts, strict=False):
            rows = self.samples[first : first + len(part)]
            rows["label"] = own[rows["label"]]
            rows["shard"] += shards
            shards += len(part.info.shards)
        self.info = joined_info(name, [part.info for part in parts], labels)

    def __copy__(self) -> "JoinedSplit":
        return JoinedSplit(self.name, [copy.copy(part) for part in self.parts], self._labels)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @property
    def place(self) -> object:
        """Where the shards lie, for messages."""
        return " + ".join(str(part.place) for part in self.parts)

    @functools.cached_property
    def sources(self) -> list[str]:
        """The source path of each sample, in sample order."""
        return [source for part in self.parts for source in part.sources]

    def keys(self) -> Iterator[str]:
        """Yield the keys of all samples, in sample order."""
        for part in self.parts:
            yield from part.keys()

    def key(self, index: int) -> str:
        """Return the WebDataset key of sample `index`, in its part."""
        part, own = self._at(index)
        return part.key(own)

    def read(self, index: int) -> bytes:
        """Return the JPEG bytes of sample `index`; errors as of its part."""
        part, own = self._at(index)
        return part.read(own)

    def read_all(
        self, indices: npt.NDArray[np.integer], memory: Callable[[int], npt.NDArray[np.uint8]]
    ) -> list[npt.NDArray[np.uint8] | None]:
        """Return the JPEGs of these samples; `read` must try those that are None."""
        found: list[npt.NDArray[np.uint8] | None] = [None] * len(indices)
        for part, places, own in self._by_part(indices):
            if len(own):
                for place, jpeg in zip(places.tolist(), part.read_all(own, memory), strict=True):
                    found[place] = jpeg
        return found

    @functools.cached_property
    def metadata_table(self) -> npt.NDArray[np.void] | None:
        """The parts' tables; None if one has none."""
        tables = [part.metadata_table for part in self.parts]
        found = [table for table in tables if table is not None]
        return np.concatenate(found) if len(found) == len(tables) else None

    def metadata(self, index: int) -> Any:
        """Return the content of the `.json` of sample `index`; None if it has none."""
        part, own = self._at(index)
        return part.metadata(own)

    @functools.cached_property
    def fields(self) -> dict[str, Field]:
        """No fields: those of the parts differ."""
        return {}

    def decode(self, index: int, jpeg: bytes) -> Image.Image:
        """Return the upright RGB picture of sample `index`, decoded by Pillow from the bytes that `read` returned."""
        part, own = self._at(index)
        return part.decode(own, jpeg)

    def describe(self, index: int) -> str:
        """Return a sample's shard, key and source path, for messages; without what cannot be read."""
        part, own = self._at(index)
        return part.describe(own)

    @property
    def is_remote(self) -> bool:
        """Whether shards of a part lie behind a URL and are copied to a cache."""
        return any(part.is_remote for part in self.parts)

    def start(
        self,
        samples: npt.NDArray[np.integer],
        steps: Sequence[int],
        *,
        window: int | None = None,
        processes: int = 1,
    ) -> None:
        """Say which samples will be read, in order: see `Split.start`. Each part reads or fetches its own ahead."""
        step_of = np.repeat(np.arange(len(steps)), steps)
        for part, places, own in self._by_part(samples):
            sizes = np.bincount(step_of[places], minlength=len(steps)).tolist()
            part.start(own, sizes, window=window, processes=processes)

    def end_step(self) -> None:
        """Count a step of `start` whose samples were read."""
        for part in self.parts:
            part.end_step()

    def prefetch(self, indices: npt.NDArray[np.integer]) -> None:
        """Ask the kernel to fetch these samples in the background, if the shards lie on this machine."""
        for part, _, own in self._by_part(indices):
            part.prefetch(own)

    def require_cache(self) -> None:
        """Raise `FreelightError` if shards of a part lie behind a URL of their own, and no cache was given."""
        for part in self.parts:
            part.require_cache()

    def close(self) -> None:
        """Close the parts' files and end what `start` began. A later `read` opens the shards again."""
        for part in self.parts:
            part.close()

    def _at(self, index: int) -> tuple[Split, int]:
        """Return the part of sample `index`, and its index there."""
        index = range(len(self))[index]
        number = int(np.searchsorted(self.firsts, index, side="right")) - 1
        return self.parts[number], index - int(self.firsts[number])

    def _by_part(
        self, indices: npt.NDArray[np.integer]
    ) -> Iterator[tuple[Split, npt.NDArray[np.intp], npt.NDArray[np.integer]]]:
        """Yield each part, the places of its samples in `indices`, and their indices there."""
        numbers = np.searchsorted(self.firsts, indices, side="right") - 1
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(numbers == number)
            yield part, places, indices[places] - self.firsts[number]
