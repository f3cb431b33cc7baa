"""Decode a dataset's images ahead of training.

Fills the folder of `train --decoded` or Loader(decoded=...), and says first what that takes. Run the same command again
to continue after a stop.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from freelight.pipeline.decoded import DecodedStore, fill, price_decoding
from freelight.shards import Dataset
from freelight.shards.base import (
    ByteCount,
    Command,
    CountOrAuto,
    decoding_threads,
    reports_errors,
    say,
    say_result,
    watch_counts,
    with_cache,
    with_output,
    with_threads,
)


@click.command(
    name="decode",
    help=__doc__,
    cls=Command,
    groups={
        "Source": "shards split cache cache-bytes fetch-timeout storage-options",
        "Result": "decoded decoded-bytes dry-run quiet json",
        "Computing": "threads",
    },
    examples=(
        "freelight decode --shards dataset --decoded pixels --dry-run",
        "freelight decode --shards dataset --decoded pixels --decoded-bytes 200GB",
    ),
)
@click.option("--shards", required=True, help="Dataset directory, or its URL with --cache.")
@with_cache
@click.option(
    "--decoded",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the pixels: 3 bytes per pixel, 197 kB for an image of 256 x 256, 252 GB for ImageNet.",
)
@click.option(
    "--decoded-bytes",
    type=ByteCount(),
    help="Maximum size of the pixels, such as 200GB. The first images that fit are kept. [default: no limit]",
)
@click.option("--split", "splits", multiple=True, help="Split to decode; repeat it for several. [default: train, val]")
@with_threads
@click.option("--dry-run", is_flag=True, help="Print what it takes, and write nothing.")
@with_output
@reports_errors
def command(
    shards: str,
    decoded: Path,
    decoded_bytes: int | None,
    splits: tuple[str, ...],
    num_threads: CountOrAuto,
    dry_run: bool,
    **options: Any,
) -> None:
    dataset = Dataset(shards, **options)
    names = splits or [name for name in ("train", "val") if name in dataset.manifest.splits]
    prices, free = price_decoding(dataset, names, decoded, decoded_bytes)
    lines = [*map(str, prices), f"{decoded}: {free / 1e9:,.1f} GB free"]
    content: dict[str, Any] = {"decoded": str(decoded), "free_bytes": free, "splits": list(map(asdict, prices))}
    if dry_run:
        say_result(lines, content)
        return
    say("\n".join(lines))
    threads = decoding_threads(num_threads, processes=1)
    lines = []
    for price, split_content in zip(prices, content["splits"], strict=True):
        split = dataset.split(price.split)
        store = DecodedStore(decoded, split, fingerprint=dataset.fingerprint, limit=price.limit)
        counts = fill(store, split, num_threads=threads)
        for _ in watch_counts(price.split)(counts, store.kept - len(store)):
            pass
        lines.append(f"{price.split}: the pixels of {len(store):,} of {len(split):,} images are in {decoded}")
        split_content["there"] = len(store)
        store.close()
    say_result(lines, content)
