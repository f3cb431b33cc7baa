"""A training step of the full network, for the benchmarks of training."""

from functools import cache

import torch
import torch.nn.functional as F

from freelight.benchmarks.device import CPU
from freelight.train import Columns, DropoutMasks, Network, PaperSGD, Precision, Recipe

CLASSES = 1000


class Step:
    """The network of a recipe with 1,000 classes, in its precision. A call takes a step and returns the number of
    images.

    compile_: compile the response normalisation. columns: the columns of the network that this process computes.
    channels_last: memory order.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        compile_: bool,
        columns: Columns = Columns(),  # noqa: B008
        device: torch.device = CPU,
        channels_last: bool = False,
    ) -> None:
        self.precision = Precision(recipe.precision, channels_last, str(device))
        self.network = self.precision.place(
            Network(recipe.network, classes=CLASSES, columns=columns, compile_=compile_)
        )
        self.optimizer = PaperSGD(self.network.named_parameters(), recipe)
        self.steps = 0

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> int:
        """Run forward, backward and update. images: (n, 3, 224, 224). labels: (n,)."""
        with self.precision.autocast():
            logits = self.network.forward_masked(self.precision.inputs(images), DropoutMasks(0, self.steps))
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(lambda _: 1e-4)
        self.steps += 1
        return len(labels)


@cache
def random_batch(images: int, device: torch.device = CPU) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images, -128 to 127, as after mean subtraction, and random labels; the same on every call."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(-128, 128, (images, 3, 224, 224), generator=generator).float()
    return pixels.to(device), torch.randint(CLASSES, (images,), generator=generator).to(device)
