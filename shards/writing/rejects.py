"""The budget of images that may be left out: a source that is mostly damaged must not become a small dataset."""

import json
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from ..base.errors import FreelightError


class _Counted(Protocol):
    @property
    def rejected(self) -> tuple[dict[str, str], ...]: ...


Item = TypeVar("Item", bound=_Counted)


class Budget:
    """At most `limit` rejects: a count, a share of all images where it is below 1, None for any number."""

    def __init__(self, limit: float | None) -> None:
        if limit is not None and (not limit >= 0 or (limit >= 1 and limit != int(limit))):
            raise FreelightError(f"--max-rejected (={limit:g}) must be a count, or a share from 0 to 1")
        self.limit = limit

    def check(self, items: Iterable[Item], images: int | None, rejected: int = 0) -> Iterator[Item]:
        """Yield `items`, counting their rejects. Raises `FreelightError` as soon as the budget is exceeded.

        images: how many there are in all; None where that is not known, so that a share cannot be told yet.
        rejected: how many there are already.
        """
        limit = self.limit
        if limit is not None and limit < 1:
            limit = None if images is None else int(limit * images)
        last = None
        for item in items:
            rejected += len(item.rejected)
            last = item.rejected[-1] if item.rejected else last
            if limit is not None and rejected > limit:
                raise FreelightError(
                    f"{rejected} images are rejected, but --max-rejected allows {self.limit:g}"
                    + (f" of {images}" if images is not None and self.limit is not None and self.limit < 1 else "")
                    + f"; {'the last: ' + json.dumps(last) if last else 'files beside the classes'}; "
                    "mend the source, or allow more"
                )
            yield item
