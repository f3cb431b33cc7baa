"""What the loader returns for each step: a named tuple of tensors on the loader's device."""

import functools
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..shards import FreelightError

EXTRAS = ("samples", "metadata")
"""What a batch can hold besides images and labels, in this order."""


class Batch(NamedTuple):
    """images: of the transform's dtype, (n, 3, size, size) or (n, 10, 3, size, size). labels: int64 (n,).

    With a loader's `extras`, further fields follow. samples: int64 (n,), the indices of these samples in the split.
    metadata: a list of n, the content of each sample's `.json`, None if it has none; not on the device.
    """

    images: torch.Tensor
    labels: torch.Tensor


def check_extras(extras: Sequence[str]) -> tuple[str, ...]:
    """Return `extras` in the order of a batch's fields. Raises `FreelightError` for an unknown one."""
    if not isinstance(extras, tuple | list) or any(name not in EXTRAS for name in extras):
        raise FreelightError(f"`extras` {extras!r} is not a tuple of names from: {', '.join(EXTRAS)}")
    return tuple(name for name in EXTRAS if name in extras)


def make_batch(extras: tuple[str, ...], values: Sequence[Any]) -> Any:
    """Return a batch with the further fields `extras`; `Batch` without any."""
    return _batch_type(extras)._make(values)


def to_device(values: npt.NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Return a tensor of `values` on `device`; the copy to a GPU does not wait."""
    tensor = torch.from_numpy(values)
    # Pinned memory: copying from other memory waits for all work that is queued on the device.
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


@functools.cache
def _batch_type(extras: tuple[str, ...]) -> Any:
    if not extras:
        return Batch
    fields = namedtuple("Batch", (*Batch._fields, *extras))  # type: ignore[misc]
    # Pickle looks a class up by its name, which all of these share.
    methods = {"__slots__": (), "__reduce__": lambda self: (make_batch, (extras, tuple(self)))}
    return type("Batch", (fields,), methods)
