"""From numpy arrays of the host to tensors on a device."""

from typing import Any

import numpy.typing as npt
import torch


def to_device(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return a tensor of `values` on the device; the copy to a GPU does not wait."""
    tensor = torch.from_numpy(values)
    if device.type == "cpu":
        return tensor
    with torch.cuda.device(device):  # on another one, pinning would start a context, which takes memory there
        # Pinned memory: copying from other memory waits for all work that is queued on the device.
        return tensor.pin_memory().to(device, non_blocking=True)
