"""Add an augmentation of your own to the pipeline: `python examples/own_augmentation.py DATASET`.

It multiplies the pixels of each image by a random factor. docs/howto/add-an-augmentation.md explains every part.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freelight.pipeline import Context, Feed, GraphContext, Lighting, Loader, Op, Transform
from freelight.shards import Dataset

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Contrast(Op):
    """Multiply the normalized values by a factor from 1 - strength to 1 + strength, drawn for each image."""

    name = "contrast"
    stage = "normalized"

    strength: float = 0.4

    def draw(self, generator: np.random.Generator, count: int) -> dict[str, Array]:
        """Draw one number for each of `count` images."""
        return {"uniform": generator.random(count, dtype=np.float32)}

    def choose(self, drawn: dict[str, Array], context: Context) -> dict[str, Array]:
        """Turn the draws into factors."""
        return {"factor": 1 + np.float32(self.strength) * (2 * drawn["uniform"] - 1)}

    def feeds(self) -> dict[str, Feed]:
        """Name the arguments of `nodes`, with their types."""
        return {"factor": Feed("float32")}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Return the DALI node."""
        return image * context.on_device(fed["factor"])

    def reference(self, image: Array, chosen: Mapping[str, Any], context: Context) -> Array:
        """Do the same to one image in numpy."""
        return np.asarray(image * chosen["factor"])


def spreads(folder: str) -> list[float]:
    """Return the standard deviation of the first batch's pixels, without and with the augmentation."""
    found = []
    for ops in ((), (Contrast(strength=0.4),)):
        transform = Transform(mean=(127.5, 127.5, 127.5), lighting=Lighting(mode="off"), ops=ops)
        loader = Loader(Dataset(folder), "train", batch_size=16, transform=transform)
        found.append(float(next(iter(loader)).images.std()))
    return found


if __name__ == "__main__":
    print("standard deviation of the pixels: {:.2f}, with Contrast {:.2f}".format(*spreads(sys.argv[1])))
