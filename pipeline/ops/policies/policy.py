"""The base of policies: operations drawn for each occurrence, applied one after the other."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ....shards import FreelightError
from ....shards.base import check_fields
from ..context import Context, GraphContext, untranslated
from ..op import Arrays, Feed, Op
from .changes import CHANGES, NUMBERS, Fill, Kind
from .operations import OPERATIONS, WITHOUT_VALUE, numbers_of

Plan = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Policy(Op):
    """Applies operations that are drawn for each occurrence: a base class for policies of your own, too.

    fill: value of pixels that come from outside the image, 0..255: one number, or three, R, G, B. names: of the
    operations that can be drawn, from `OPERATIONS`.
    """

    stage = "pixels"
    has_branches = True
    moves_pixels = True

    names: ClassVar[tuple[str, ...]]

    fill: int | tuple[int, int, int] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not all(0 <= value <= 255 for value in self.rgb):
            raise FreelightError(f"{self.name} `fill` (={self.fill}) must lie in 0..255")
        if unknown := [name for name in self.names if name not in OPERATIONS]:
            raise FreelightError(f"{self.name} `names` has {unknown[0]!r}, which is not one of {', '.join(OPERATIONS)}")

    @property
    def rgb(self) -> Fill:
        """The fill by channel."""
        return self.fill if isinstance(self.fill, tuple) else (self.fill,) * 3

    @property
    @abc.abstractmethod
    def layers(self) -> int:
        """Operations of an image, at most."""

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of change that can be drawn."""
        return sorted({OPERATIONS[name].kind for name in self.names})

    @abc.abstractmethod
    def plan(self, drawn: Arrays, side: int) -> Plan:
        """Return the operations, as indices of `names`, and their values: (n, layers) each.

        side: of the image, pixels. `OPERATIONS` says what a value means.
        """

    def choose(self, drawn: Arrays, context: Context) -> Arrays:
        """Return the kind of change of each layer and its numbers: (n, layers) and (n, layers, 6)."""
        operations, values = self.plan(drawn, context.crop_size)
        kinds = np.zeros(operations.shape, np.uint8)
        numbers = np.zeros((*operations.shape, NUMBERS), np.float32)
        for index, name in enumerate(self.names):
            is_this = operations == index
            kinds[is_this] = OPERATIONS[name].kind
            numbers[is_this] = numbers_of(name, values[is_this], context.crop_size)
        return {"kinds": kinds, "numbers": numbers}

    def describe(self, drawn: Arrays, context: Context) -> str:
        """Name the operations, with their values."""
        operations, values = self.plan(drawn, context.crop_size)
        named = [(self.names[operation], value) for operation, value in zip(operations[0], values[0], strict=True)]
        return "\n".join(name if name in WITHOUT_VALUE else f"{name} {value:.3g}" for name, value in named)

    def feeds(self) -> dict[str, Feed]:
        """Return the types of the kinds and of their numbers."""
        return {"kinds": Feed("uint8", 1), "numbers": Feed("float32", 2)}

    def nodes(self, image: Any, fed: Mapping[str, Any], context: GraphContext) -> Any:
        """Split the batch by kind of change, layer by layer."""
        for layer in range(self.layers):
            image = _changed(self.kinds, fed["kinds"][layer], image, fed["numbers"][layer], self.rgb, context)
        return image

    def reference(self, image: npt.NDArray[Any], chosen: Mapping[str, Any], context: Context) -> npt.NDArray[Any]:
        """Do the same in numpy."""
        for kind, numbers in zip(chosen["kinds"], chosen["numbers"], strict=True):
            if kind != Kind.NOTHING:
                image = CHANGES[Kind(kind)].reference(image, numbers, self.rgb)
        return image


def _changed(kinds: list[Kind], drawn: Any, image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    """Change each image by the kind that was drawn for it, one of `kinds`, in ascending order.

    Halving takes few splits: each costs a microsecond per image. DALI runs a branch for the images that belong there.
    """
    middle = len(kinds) // 2
    if middle == 0:
        changed = _change(kinds[0], image, numbers, fill, context)
    elif drawn < int(kinds[middle]):
        changed = _changed(kinds[:middle], drawn, image, numbers, fill, context)
    else:
        changed = _changed(kinds[middle:], drawn, image, numbers, fill, context)
    return changed


@untranslated
def _change(kind: Kind, image: Any, numbers: Any, fill: Fill, context: GraphContext) -> Any:
    return image if kind == Kind.NOTHING else CHANGES[kind].nodes(image, numbers, fill, context)
