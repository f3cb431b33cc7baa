"""The base class of an augmentation op: specification, draws, DALI nodes and numpy reference in one class.

To add an op, write a frozen dataclass that derives from `Op`, and pass it to a transform:

    @dataclass(frozen=True, kw_only=True)
    class Brightness(Op):
        name = "brightness"
        stage = "normalized"

        deviation: float = 10.0

        def draw(self, generator, count):
            return {"shift": generator.normal(0, self.deviation, count).astype(np.float32)}

        def feeds(self):
            return {"shift": Feed("float32")}

        def nodes(self, image, fed, context):
            return image + context.on_device(fed["shift"])

        def reference(self, image, chosen, context):
            return image + chosen["shift"]

    Transform(ops=(Brightness(deviation=5.0),))

Nothing else has to change: the loader draws, feeds and resumes the op, and its `repr` is part of the loader's state.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .context import Context, GraphContext

Arrays = dict[str, npt.NDArray[Any]]
"""Arrays by argument name; the first axis counts occurrences."""

Stage = Literal["pixels", "normalized"]


@dataclass(frozen=True)
class Feed:
    """The type of one argument of the graph: numpy dtype, and dimensions of the value of one image (0: a scalar)."""

    dtype: str
    ndim: int = 0


class Op(abc.ABC):
    """An augmentation that `Transform(ops=...)` applies after the crop. Subclasses are frozen dataclasses.

    name: a part of the key of the op's random stream; a new name gives new draws.
    stage: `pixels` changes the crop, uint8 (size, size, 3), before flip and mean, and gives the same type and shape.
    `normalized` changes float32 values after mean, lighting and std, before the cast to the transform's dtype.
    needs_statistics: whether the op reads `context.statistics`. has_branches: whether `nodes` uses `if` with a node,
    at stage `pixels`: DALI then translates its source for a graph with conditionals. moves_pixels: whether pixels
    change their places; boxes then fit no more, and a loader of boxes refuses the op.

    An *occurrence* is one view of one repeat of one sample in one epoch. Draws belong to occurrences, so a sample's
    values do not depend on the batch size, on the number of ranks, or on where training resumes.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    needs_statistics: ClassVar[bool] = False
    has_branches: ClassVar[bool] = False
    moves_pixels: ClassVar[bool] = False

    def draw(self, generator: np.random.Generator, count: int) -> Arrays:
        """Draw the random numbers of `count` occurrences: arrays of length `count`.

        It is called for blocks of 4,096 samples: 313 times per view for an epoch of ImageNet. Draw whole arrays, with
        `dtype=np.float32`: 16 such numbers per sample take 0.1 s (uniform) to 0.3 s (normal) for an epoch of 1,281,167
        samples, on one core. A loader keeps the draws of an epoch or what `choose` returns for them, whichever takes
        less memory: 16 numbers of float32 take 82 MB. All ops of a transform together should stay below 1 s and 200 MB.
        """
        return {}

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Turn draws into the arguments that `feeds` names.

        It is called for blocks of an epoch, or for each batch. An occurrence must depend on its own draws only, to the
        bit: a matrix product over all occurrences (`@`) may round by their number, a sum of products does not.
        """
        return drawn

    def describe(self, drawn: Arrays, context: Context) -> str:
        """Say in some words what is done to one occurrence, for captions of pictures. drawn: its draws, of length 1.

        By default it gives the arguments that are single floats.
        """
        numbers = [(name, value) for name, value in self.choose(drawn, context).items() if value.dtype.kind == "f"]
        return "\n".join(f"{name} {value[0]:.3g}" for name, value in numbers if value.ndim == 1)

    def feeds(self) -> dict[str, Feed]:
        """Return the type of each argument of the graph."""
        return {}

    @abc.abstractmethod
    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Return the DALI node of the changed image.

        image: node on `context.device`; uint8 "HWC" at stage `pixels`, float32 in `context.axes` at `normalized`.
        fed: a node on the CPU for each of `feeds`. Draw nothing inside the graph: DALI's own draws depend on the batch.
        """

    @abc.abstractmethod
    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Change one image in numpy, as `nodes` does: (size, size, 3), uint8 or float64 by stage.

        chosen: the value of each of `feeds` for this occurrence.
        """
