"""Numeric fields: how `index_shards` is told of them, and how a sample's array is read from a `.json` or an `.npy`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base import FreelightError, parse_array
from ..dataset import BOX, DTYPES, MAX_DIMENSIONS, MAX_ROW, is_field_name

FORMS = ("xyxy", "xywh")
"""Forms of boxes: two corners, or the top left corner, width and height (COCO)."""
BOXES_FIELD = "boxes"
"""A field of this name has boxes by their corners, unless it says another form."""


@dataclass(frozen=True)
class FieldPlace:
    """Where the values of a field are.

    name: of the field. form: one of `FORMS` if its rows are boxes, else "". kind: extension of the member. path: to a
    value in the `.json`.
    """

    name: str
    form: str
    kind: str
    path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, given: str) -> "FieldPlace":
        """Read "area=json:area", "boxes=xywh:json:objects.bbox" or "embedding=npy"."""
        name, _, source = given.partition("=")
        form, colon, rest = source.partition(":")
        if not colon or form not in FORMS:
            form, rest = FORMS[0] if name == BOXES_FIELD else "", source
        kind, colon, path = rest.partition(":")
        is_json = kind == "json" and all(path.split("."))
        if not is_field_name(name) or not (is_json or (not colon and kind.rpartition(".")[2].lower() == "npy")):
            raise FreelightError(
                f"`fields` (={given}) must be <name>=json:<key>, or <name>=npy for a member; with xyxy: or xywh: after "
                "the = if its rows are boxes, such as boxes=xywh:json:objects.bbox"
            )
        return cls(name, form, kind.lower(), tuple(path.split(".")) if is_json else ())

    @property
    def source(self) -> str:
        """The place as text, for messages."""
        return f"json:{'.'.join(self.path)}" if self.path else f".{self.kind}"

    @property
    def is_boxes(self) -> bool:
        """Whether its rows are boxes."""
        return self.form != ""

    def read_json(self, content: dict[str, Any]) -> npt.NDArray[Any] | None:
        """Return the array in a `.json`, as of `read_npy`; None if it has none. A list of objects has a row for each.

        Whole numbers are int64, others float64.
        """
        value: Any = content
        for key in self.path:
            value = _look_up(value, key)
        if value is None:
            return None
        kinds = {type(leaf) for leaf in _leaves(value)}
        if not kinds <= {int, float}:
            raise FreelightError(f"{self.source} is not a list of numbers")
        try:
            array = np.array(value, np.float64 if float in kinds else np.int64)
        except (ValueError, OverflowError):
            raise FreelightError(f"{self.source} has rows of different lengths, or numbers beyond 64 bits") from None
        if not np.isfinite(array).all():
            raise FreelightError(f"{self.source} has a number that is not finite")
        return self._checked(array)

    def read_npy(self, data: bytes) -> npt.NDArray[Any]:
        """Return the array of an `.npy` member: (rows, ...), of boxes float32 (rows, 4); (0,) if it has no rows."""
        return self._checked(parse_array(data, DTYPES, where=f"its {self.source}", remedy=""))

    def _checked(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = np.atleast_1d(array)
        if not len(array):
            return array.reshape(0)
        if self.is_boxes:
            return self._boxes(array)
        if array.ndim - 1 > MAX_DIMENSIONS or not 1 <= math.prod(array.shape[1:]) <= MAX_ROW:
            raise FreelightError(f"{self.source} has the shape {array.shape}: rows of no numbers, or of too many")
        return array

    def _boxes(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return boxes by their corners. One box alone may be a list of four numbers."""
        rows = array[None] if array.shape == (4,) else array
        if rows.shape[1:] != BOX[1]:
            raise FreelightError(f"{self.source} has the shape {array.shape}, but boxes have four numbers in each row")
        corners = rows.astype(np.float64)
        if self.form == "xywh":
            corners[:, 2:] += corners[:, :2]
        with np.errstate(over="ignore"):
            boxes = corners.astype(BOX[0])
        wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
        if wrong.any():
            shown = ", ".join(f"{number:g}" for number in rows[wrong.argmax()].tolist())
            other = FORMS[self.form == FORMS[0]]
            raise FreelightError(f"{self.source} has the box {shown}, which is not {self.form}; is it {other}?")
        return boxes


def _look_up(value: Any, key: str) -> Any:
    """Return the value of `key` in an object, or the list of its values in a list of objects; None without it."""
    if isinstance(value, list):
        found = [_look_up(item, key) for item in value]
        return None if None in found else found
    return value.get(key) if isinstance(value, dict) else None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
