"""What a finished dataset was made from: its source and settings, given again and compared with the manifest."""

import functools
import shutil
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base import MAX_JSON, FreelightError, naming_pictures
from ..dataset import Manifest, parent_name
from ..sources import OrderedSource, Source, rescale_in_order
from .dealing import ShardTask, deal_shards
from .making import changes_since, segments_in
from .output import Output
from .part import as_part, deal_part, describe_part
from .settings import VERSIONS, ShardSettings

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Generator[Any, None, None]]


@dataclass(frozen=True)
class Origin:
    """The source and the settings of a dataset, or of a part that was appended.

    parent: the dataset to which it was appended. split: as of `append_shards`. segments: folder for the rescaled
    pictures of an ordered source.
    """

    manifest: Manifest
    parent: Manifest | None
    source: Source | OrderedSource
    split: str | None
    settings: ShardSettings
    segments: Path
    run: Run

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        source: Source | OrderedSource,
        settings: ShardSettings,
        *,
        split: str | None,
        output: Output,
        staging: Path | None,
        run: Run,
    ) -> "Origin":
        """Return what a dataset was made from. Raises `FreelightError` unless the manifest says the same of it.

        The versions of libraries may be others: whether they give the same bytes is found out by making them.
        """
        source, described = describe_part(replace(source, root=source.root.absolute()), split)
        parent, parts = None, [manifest.source, *(part.source for part in manifest.appended)]
        number = next((n for n, part in enumerate(parts) if part.get("listing") == described["listing"]), 0)
        if number:
            with output.reading(parent_name(manifest.appended[number - 1].parent), MAX_JSON) as path:
                parent = Manifest.load(path.parent, path.name)
            settings = replace(settings, samples_per_shard=manifest.made_with["samples_per_shard"])
        elif isinstance(source, Source):
            settings = settings.resolve(source)
        then, now = {**manifest.made_with, **parts[number]}, {**settings.made_with(), **described}
        if changes := changes_since(then, now, but=VERSIONS):
            raise FreelightError(
                f"{output.where} was made with other settings or from another source ({changes}); give the same ones"
            )
        settings = replace(settings, schema=manifest.schema)
        segments = segments_in(staging, source, output, {**settings.made_with(), **described})
        return cls(manifest, parent, source, split, settings, segments, run)

    @functools.cached_property
    def ready(self) -> tuple[Source, ShardSettings]:
        """The source, which can be read at random, and the settings. An ordered source is rescaled first."""
        source = self.source
        if isinstance(source, OrderedSource):
            with naming_pictures(self.segments):
                source = rescale_in_order(
                    source, self.settings.rescaling, self.segments, run=self.run, watch=lambda items: items
                )
        if self.parent is not None:
            return as_part(source, self.parent, self.split), self.settings
        return source, self.settings.resolve(source)

    @functools.cached_property
    def tasks(self) -> dict[str, ShardTask]:
        """All shards of the source, by file name."""
        source, settings = self.ready
        tasks = deal_shards(source, settings) if self.parent is None else deal_part(source, settings, self.parent)
        return {task.name: task for task in tasks}

    def clean(self) -> None:
        """Delete the rescaled pictures of an ordered source."""
        shutil.rmtree(self.segments, ignore_errors=True)


AGAIN, OTHER_BYTES = "made again from the source", "made again from the source it has other bytes"
"""How a file is repaired, and why it is not."""


def describe_failure(file: object, reasons: list[str], copy: str | None, origin: Origin | None) -> str:
    """Return the message for a file that cannot be repaired: the reasons, and what helps.

    reasons: why the ways that were tried have failed. copy: path or URL of the copy that was tried.
    """
    remedies = [] if copy is not None else ["`copy`, another copy of the dataset"]
    remedies += [] if origin is not None else ["`images`, its source"]
    helps = [f"give {' or '.join(remedies)}"] if remedies else []
    if origin is not None and OTHER_BYTES in reasons:
        number = 0 if origin.parent is None else 1 + len(origin.parent.appended)
        parts = [origin.manifest.made_with, *(part.made_with for part in origin.manifest.appended)]
        before, now = parts[number], origin.settings.made_with()
        changed = [
            f"{name} {before.get(name)} and not {now[name]}" for name in VERSIONS if before.get(name) != now[name]
        ]
        if changed:
            helps.insert(0, f"it was made with {', '.join(changed)}: install the same")
        else:
            helps.insert(0, "a picture of the source was changed: put back the one of then")
    return f"{file} is not repaired: {'; '.join([*reasons, *helps])}"
