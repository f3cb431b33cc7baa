"""A training step of the full network, for the benchmarks of training."""

from functools import cache

import torch
import torch.nn.functional as F

from freelight.train import Columns, DropoutMasks, Network, PaperSGD, Recipe

CLASSES = 1000


class Step:
    """The network of a recipe with 1,000 classes. A call takes a step and returns the number of images.

    compile_: compile the response normalisation. columns: the columns of the network that this process computes.
    """

    def __init__(self, recipe: Recipe, *, compile_: bool, columns: Columns = Columns()) -> None:  # noqa: B008
        self.network = Network(recipe.network, classes=CLASSES, columns=columns, compile_=compile_)
        self.optimizer = PaperSGD(self.network.named_parameters(), recipe)
        self.steps = 0

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> int:
        """Run forward, backward and update. images: (n, 3, 224, 224). labels: (n,)."""
        logits = self.network.forward_masked(images, DropoutMasks(0, self.steps))
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(lambda _: 1e-4)
        self.steps += 1
        return len(labels)


@cache
def random_batch(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images, -128 to 127, as after mean subtraction, and random labels; the same on every call."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(-128, 128, (images, 3, 224, 224), generator=generator).float()
    return pixels, torch.randint(CLASSES, (images,), generator=generator)
