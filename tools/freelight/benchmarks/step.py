"""One training step of the full network on random pixels, which the benchmarks of training time."""

from functools import cache

import torch
import torch.nn.functional as F

from freelight.train import Columns, DropoutMasks, Network, PaperSGD, Recipe

CLASSES = 1000


class Step:
    """The network of a recipe with 1,000 classes; a call takes a step and returns the number of images.

    compile_: fuse the normalisation. columns: what this process holds of the network.
    """

    def __init__(self, recipe: Recipe, *, compile_: bool, columns: Columns = Columns()) -> None:  # noqa: B008
        self.network = Network(recipe.network, classes=CLASSES, columns=columns, compile_=compile_)
        self.optimizer = PaperSGD(self.network.named_parameters(), recipe)
        self.steps = 0

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> int:
        """Go forward and back on images (n, 3, 224, 224) with labels (n,), and update the weights."""
        logits = self.network(images, DropoutMasks(0, self.steps))
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(lambda _: 1e-4)
        self.steps += 1
        return len(labels)


@cache
def random_batch(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels like an image's less its mean, and labels; always the same."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(-128, 128, (images, 3, 224, 224), generator=generator).float()
    return pixels, torch.randint(CLASSES, (images,), generator=generator)
