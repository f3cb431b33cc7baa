"""Number formats and memory order of a run's computation."""

from dataclasses import dataclass

import torch

from .config import TrainingConfig
from .network.network import Network


@dataclass(frozen=True)
class Precision:
    """name: `float32`; `bfloat16`, by autocast over float32 parameters; or `float64`. channels_last: memory order."""

    name: str
    channels_last: bool
    device: str

    @classmethod
    def of(cls, config: TrainingConfig, device: str) -> "Precision":
        """Return what `config` asks for."""
        return cls(config.recipe.precision, config.channels_last, device)

    def place(self, network: Network) -> Network:
        """Move a network to the device, in the parameters' dtype and memory order; return it."""
        network.to(self.device, torch.float64 if self.name == "float64" else torch.float32)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch's images in the network's dtype and memory order."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images.double() if self.name == "float64" else images

    def autocast(self) -> torch.autocast:
        """Return the context for forward passes; it does nothing unless the precision is `bfloat16`."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.name == "bfloat16")
