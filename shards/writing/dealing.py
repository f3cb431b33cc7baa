"""Deal a source's pictures to shards: shuffle each split globally, and cut it into tasks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..base import FreelightError, is_plain_name
from ..dataset import index_name, shard_name
from ..sources import Source, SourceImage
from .settings import ShardSettings

LONGEST_SPLIT = 100 - len("-00000000.json")
"""Longest name of a split. A member's name, `<split>-<8 digits>.<extension>`, has 100 bytes in the header of a tar."""


@dataclass(frozen=True)
class ShardTask:
    """A shard to write: its split, its number there, and its pictures.

    The key of a picture is its place in the shuffled split: `first_key` for the first picture, and so on.
    """

    split: str
    shard: int
    first_key: int
    images: tuple[SourceImage, ...]

    @property
    def name(self) -> str:
        """The tar's file name."""
        return shard_name(self.split, self.shard)

    @property
    def index_name(self) -> str:
        """The index's file name."""
        return index_name(self.split, self.shard)


def deal_shards(
    source: Source, settings: ShardSettings, *, part: int = 0, first_shards: Mapping[str, int] | None = None
) -> list[ShardTask]:
    """Shuffle each split by the seed and the split's name alone, keep `limit` pictures, and cut it into shards.

    part: 0, or of pictures that are appended how often that was done; it enters the shuffle. first_shards: number of
    the first shard by split, 0 where none is given.
    """
    tasks = []
    size = settings.resolve(source).samples_per_shard
    assert size is not None
    for split, images in source.splits.items():
        if len(split) > LONGEST_SPLIT or not is_plain_name(split):
            raise FreelightError(
                f"{source.root}: the split {split!r} must have a name of at most {LONGEST_SPLIT} letters, digits, '.', "
                "'_' and '-', without a leading dot, because the keys of its samples begin with it; rename it"
            )
        key = (settings.seed, *split.encode(), *([part] if part else []))
        order = np.random.Generator(np.random.Philox(key)).permutation(len(images))[: settings.limit]
        first_shard = (first_shards or {}).get(split, 0)
        for shard, first in enumerate(range(0, len(order), size), first_shard):
            chosen = tuple(images[index] for index in order[first : first + size])
            tasks.append(ShardTask(split, shard, shard * size, chosen))
    return tasks
