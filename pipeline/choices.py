"""What a transform does to each sample of an epoch: the graph's inputs, kept in little memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..shards import FreelightError
from .draws import OpStream
from .ops import Context, Feed, Op
from .ops.op import Arrays


class OpTable:
    """What one op does to each sample.

    Kept are the op's draws or what it chose from them, whichever takes less memory; from draws, `take` chooses anew.
    names: the graph's names of the arguments in `op.feeds()`. Raises `FreelightError` if `op.choose` returns others.
    """

    def __init__(self, op: Op, names: Sequence[str], stream: OpStream, samples: int, context: Context) -> None:
        def choose(drawn: Arrays) -> Arrays:
            chosen = op.choose(drawn, context)
            return {name: chosen[argument] for argument, name in zip(op.feeds(), names, strict=True)}

        drawn = stream.block(0, op.draw)
        _check_chosen(op, op.choose(drawn, context))
        self.names = names
        self._choose = None if _bytes(choose(drawn)) <= _bytes(drawn) else choose
        self._kept = stream.table(
            samples, op.draw if self._choose else lambda generator, count: choose(op.draw(generator, count))
        )

    def take(self, samples: npt.NDArray[np.int32]) -> Arrays:
        """Return the arguments of `samples`, by the graph's names."""
        kept = {name: table.take(samples, axis=0) for name, table in self._kept.items()}
        return self._choose(kept) if self._choose else kept

    def whole(self) -> Arrays:
        """Return the arguments of all samples."""
        return self._choose(self._kept) if self._choose else self._kept


class Choices(Mapping[str, npt.NDArray[Any]]):
    """The graph's inputs besides the JPEGs, by name, in order: one row per sample.

    tables: those of crop, flip and lighting. ops: those of `Transform.ops`.
    """

    def __init__(self, tables: Arrays, ops: Sequence[OpTable] = ()) -> None:
        self._tables = tables
        self._ops = ops

    def take(self, samples: npt.NDArray[np.int32]) -> Arrays:
        """Return the rows of `samples`: of each input one contiguous array."""
        taken = {name: table.take(samples, axis=0) for name, table in self._tables.items()}
        for op in self._ops:
            taken.update(op.take(samples))
        return taken

    def only(self, names: Collection[str]) -> "Choices":
        """Return those with these names, of crop, flip and lighting."""
        return Choices({name: table for name, table in self._tables.items() if name in names})

    def without(self, names: Collection[str]) -> "Choices":
        """Return those without these names, of crop, flip and lighting; and those of ops."""
        return Choices({name: table for name, table in self._tables.items() if name not in names}, self._ops)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return an input's rows of all samples. `take` needs less memory."""
        if name in self._tables:
            return self._tables[name]
        for op in self._ops:
            if name in op.names:
                return op.whole()[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from self._tables
        for op in self._ops:
            yield from op.names

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _check_chosen(op: Op, values: Arrays) -> None:
    """Raise `FreelightError` if an op's arguments do not match its `feeds`."""
    found = {name: Feed(array.dtype.name, array.ndim - 1) for name, array in values.items()}
    if found != op.feeds():
        raise FreelightError(f"op {op.name!r}: choose returned {found}, but feeds says {op.feeds()}")
