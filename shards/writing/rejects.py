"""A limit for rejected images, so that a mostly damaged source does not become a small dataset."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from ..base import FreelightError, counted
from ..sources import LeftOut


class _Counted(Protocol):
    @property
    def rejected(self) -> tuple[dict[str, str], ...]: ...


Item = TypeVar("Item", bound=_Counted)


class RejectLimit:
    """The maximum number of rejected images: a count, or a share of all images if below 1; None allows any number."""

    def __init__(self, limit: float | None) -> None:
        if limit is not None and (not limit >= 0 or (limit >= 1 and limit != int(limit))):
            raise FreelightError(f"`max_rejected` (={limit:g}) must be a count, or a share from 0 to 1")
        self.limit = limit

    def check(self, items: Iterable[Item], images: int | None, left_out: Sequence[LeftOut] = ()) -> Iterator[Item]:
        """Yield `items` and count their rejects. Raises `FreelightError` as soon as they exceed the limit.

        images: number of all images; None if it is not known yet, so that a share cannot be checked. left_out: what
        the listing left out, which counts too.
        """
        limit = self.limit
        if limit is not None and limit < 1:
            limit = None if images is None else int(limit * images)
        rejected = len(left_out)
        last = left_out[-1]._asdict() if left_out else None
        for item in items:
            rejected += len(item.rejected)
            last = item.rejected[-1] if item.rejected else last
            if limit is not None and rejected > limit:
                raise FreelightError(
                    f"{counted(rejected, 'image')} rejected, but `max_rejected` allows {self.limit:g}"
                    + (f" of {images}" if images is not None and self.limit is not None and self.limit < 1 else "")
                    + f"; the last: {json.dumps(last)}; repair the source, or allow more"
                )
            yield item
