"""A loader's order of samples, for frameworks that look for a sampler."""

from collections.abc import Callable


class EpochSampler:
    """The order of a loader's samples, as a sampler: frameworks call its `set_epoch` before each epoch.

    samples: of an epoch. set_epoch: names the epoch of the loader's next iteration.
    """

    def __init__(self, samples: int, set_epoch: Callable[[int], None]) -> None:
        self._samples = samples
        self.set_epoch = set_epoch

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        return self._samples
