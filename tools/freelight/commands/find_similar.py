"""Find the images that a network finds most similar to others.

--panel draws the paper's Figure 4 (right). The queries are IMAGES; without them, --rows images of the split --queries.
--bits compares binary codes with exact search, for all images of --queries.
"""

import functools
from pathlib import Path
from typing import Any

import click

from freelight.pipeline.pictures import save_png
from freelight.shards import Dataset, FreelightError
from freelight.shards.base import Command, OutputFile, reports_errors, say_result, watch_counts, with_cache, with_output
from freelight.train import Checkpoint
from freelight.train.evaluation import Processes, with_processes
from freelight.train.inspection import CodeConfig, Extraction, Gallery, Space, Style, compare_codes, draw_similar

FILE = click.Path(path_type=Path)


@click.command(
    name="find-similar",
    help=__doc__,
    cls=Command,
    groups={
        "Network and data": "checkpoint shards split queries cache cache-bytes fetch-timeout storage-options features",
        "Result": "rows nearest panel pixels quiet json",
        "Binary codes": "bits seed",
        "Computing": "columns replicas backend threads compile",
    },
    examples=(
        "freelight find-similar --checkpoint run/best.pt --shards dataset --features features --panel similar.png",
        "freelight find-similar --checkpoint run/best.pt --shards dataset --features features cat.jpg",
    ),
)
@click.argument("images", type=FILE, nargs=-1)
@click.option("--checkpoint", type=FILE, required=True, help="Checkpoint of the network, such as RUN/best.pt.")
@click.option("--shards", required=True, help="Dataset directory, or its URL with --cache.")
@with_cache
@click.option("--features", type=FILE, required=True, help="Folder for the features; unfinished ones are continued.")
@click.option("--split", default="train", show_default=True, help="Split to search in.")
@click.option("--queries", default="val", show_default=True, help="Split of the queries, when no IMAGES are given.")
@click.option(
    "--rows", default=5, show_default=True, type=click.IntRange(min=1), help="Number of queries to show from --queries."
)
@click.option(
    "--nearest", default=6, show_default=True, type=click.IntRange(min=1), help="Number of similar images per query."
)
@click.option(
    "--panel", type=OutputFile(".png"), help="The .png file for a picture of the queries and their similar images."
)
@click.option("--pixels", default=1280, show_default=True, help="Maximum width of the panel, in pixels.")
@click.option(
    "--bits", type=int, multiple=True, help="Length of the binary codes to compare, in bits; repeat it for several."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Seed of the auto-encoders that make the codes.",
)
@with_processes
@with_output
@reports_errors
def command(
    images: tuple[Path, ...],
    checkpoint: Path,
    shards: str,
    cache: Path | None,
    cache_bytes: int,
    fetch_timeout: float,
    storage_options: dict[str, Any] | None,
    features: Path,
    split: str,
    queries: str,
    rows: int,
    nearest: int,
    panel: Path | None,
    pixels: int,
    bits: tuple[int, ...],
    seed: int,
    **processes: Any,
) -> None:
    if split == queries and (bits or not images):
        raise FreelightError(
            f"--queries and --split are both {queries}, so each image would find itself; give another split"
        )
    codes = [CodeConfig(bits=size, seed=seed) for size in bits]
    style, trained = Style(pixels=pixels), Checkpoint.load(checkpoint)
    dataset = Dataset(
        shards, cache=cache, cache_bytes=cache_bytes, fetch_timeout=fetch_timeout, storage_options=storage_options
    )
    needed: list[tuple[str, Space]] = [(split, "fc7")]
    if codes or not images:
        needed.append((queries, "fc7"))
    if codes:
        needed += [(split, "pixels"), (queries, "pixels")]
    watch = watch_counts("features")
    extraction = Extraction(checkpoint=checkpoint, dataset=dataset, folder=features, features=needed, watch=watch)
    if not extraction.run(Processes(**processes)):  # another process reports
        return
    open_gallery = functools.partial(Gallery.open, trained, dataset, folder=features)
    gallery = open_gallery(split)
    found = gallery.find_similar(
        gallery.read_queries(images) if images else open_gallery(queries).examples(rows), nearest
    )
    if panel is not None:
        save_png(draw_similar(found, style), panel)
    compared: list[str] = []
    if codes:
        in_pixels = open_gallery(split, space="pixels"), open_gallery(queries, space="pixels")
        compared = list(compare_codes(gallery, open_gallery(queries), in_pixels, codes))
    similar = [one.asdict() for one in found]
    say_result([*map(str, found), *compared], {"similar": similar, "codes": compared})
