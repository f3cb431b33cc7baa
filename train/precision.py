"""Number formats and memory order of a run's computation."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from ..pipeline import Layout
from .config import TrainingConfig
from .network.network import Network
from .parallel.arithmetic import arithmetic


@dataclass(frozen=True)
class Precision:
    """name: `float32`; `tf32`, float32 whose convolutions and matrix products round their inputs on a GPU; `bfloat16`,
    by autocast over float32 parameters; or `float64`. Each holds for all layers. channels_last: memory order.
    """

    name: str
    channels_last: bool
    device: str

    @classmethod
    def of(cls, config: TrainingConfig, device: str) -> "Precision":
        """Return what `config` asks for; by default channels-last on the CPU, where it was measured to be faster."""
        channels_last = torch.device(device).type == "cpu" if config.channels_last is None else config.channels_last
        return cls(config.recipe.precision, channels_last, device)

    @property
    def layout(self) -> Layout:
        """The order of the axes in which a loader is to return images."""
        return "NHWC" if self.channels_last else "NCHW"

    @property
    def remark(self) -> str | None:
        """What users should know: that the device has no TF32; otherwise None."""
        if self.name != "tf32" or (self.device != "cpu" and torch.cuda.get_device_capability(self.device) >= (8, 0)):
            return None
        return f"precision tf32: {self.device} has no TensorFloat-32 and computes in float32"

    def place(self, network: Network) -> Network:
        """Move a network to the device, in the parameters' dtype and memory order; return it."""
        network.to(self.device, torch.float64 if self.name == "float64" else torch.float32)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch's images in `layout` as (N, 3, H, W) in the network's dtype and memory order."""
        if self.channels_last:  # a view: the memory of NHWC is torch's channels-last
            images = images.permute(0, 3, 1, 2)
        return images.double() if self.name == "float64" else images

    def arithmetic(self) -> AbstractContextManager[None]:
        """Return the context for a whole run: deterministic, and with TF32 if the precision is `tf32`."""
        return arithmetic(tf32=self.name == "tf32")

    def autocast(self) -> torch.autocast:
        """Return the context for forward passes; it does nothing unless the precision is `bfloat16`."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.name == "bfloat16")
