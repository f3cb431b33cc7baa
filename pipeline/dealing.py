"""Deal a global batch to the ranks: which samples each of them decodes."""

from typing import NamedTuple

import numpy as np

from .draws import share_of
from .reading import Share


class Dealing(NamedTuple):
    """Which samples of a global batch each rank decodes.

    held: the ranks whose shares this process returns: its own, or those of its group. world_size: number of all ranks.
    mixes: whether images are mixed, so that the first of `held` also decodes the one before its share.
    """

    held: range
    world_size: int
    mixes: bool = False

    def share(self, batch: Share, rank: int) -> Share:
        """Return the samples of a global batch that `rank` decodes; the one before its share comes first."""
        share = share_of(batch, rank, self.world_size)
        if rank != self.held.start or not self.begins_with_partner(batch):
            return share
        return np.concatenate((share_of(np.roll(batch, 1), rank, self.world_size)[:1], share))

    def begins_with_partner(self, batch: Share) -> bool:
        """Return whether `held` decodes a sample of another rank: the one before its own, unless it has the batch."""
        return self.mixes and 0 < sum(len(share_of(batch, rank, self.world_size)) for rank in self.held) < len(batch)
