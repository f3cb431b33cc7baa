"""Rescale labelled images, or keep them whole, and write them as WebDataset shards.

Reads every known layout of ImageNet, a folder per class, WebDataset tars, or a dataset made before. Run the same
command again to continue after a stop; the bytes are the same.
"""

import functools
from pathlib import Path
from typing import Any

import click

from freelight.shards import (
    Rescaling,
    ShardSettings,
    append_shards,
    dataset_figures,
    list_images,
    make_shards,
    repair_dataset,
    summarize_dataset,
    summarize_source,
)
from freelight.shards.base import (
    Command,
    CountOrAuto,
    counting,
    counting_images,
    reports_errors,
    say_result,
    storage_options,
    with_output,
    with_workers,
)

PATH = click.Path(path_type=Path)


@click.command(
    name="make-shards",
    help=__doc__,
    cls=Command,
    groups={
        "Source": "images layout class-names classes label-order val-fraction limit seed",
        "Pictures": "geometry size enlarge resampling quality max-pixels reject-suspect max-rejected",
        "Result": "out storage-options samples-per-shard metadata dry-run quiet json",
        "Existing datasets": "repair from append split",
        "Computing": "workers cluster staging",
    },
    examples=(
        "freelight make-shards --images photos --out dataset --val-fraction 0.1",
        "freelight make-shards --images ILSVRC2012 --out s3://bucket/imagenet --geometry shorter --workers 16",
    ),
)
@click.option(
    "--images", type=PATH, help="Folder of class folders or of archives, or one archive. Only --repair can do without."
)
@click.option(
    "--out", required=True, help="Dataset directory to write or to continue, or its URL, such as s3://bucket/dataset."
)
@click.option(
    "--layout",
    help="Layout of --images: folders, ilsvrc2012, parquet, webdataset, ... (an unknown name lists all). [default: "
    "detected]",
)
@with_workers
@click.option("--cluster", help="Run on the workers of this Dask scheduler: tcp://host:8786.")
@click.option(
    "--staging",
    type=PATH,
    help="Local folder for images from parquet and .tar.gz; required when --out is a URL. [default: in --out]",
)
@click.option(
    "--samples-per-shard",
    type=int,
    help="Samples per shard. [default: a 32nd of the largest split, limited to 100..2000]",
)
@click.option("--quality", default=Rescaling.quality, show_default=True, help="JPEG quality, 1..100.")
@click.option(
    "--geometry",
    default=Rescaling.geometry,
    show_default=True,
    help="square (shorter side to --size, then the central square), shorter (shorter side to --size, aspect kept), "
    "longer (longer side to --size), or original (the file's own bytes where it is a sound, upright RGB or grey JPEG; "
    "any other is encoded at its own size).",
)
@click.option(
    "--size",
    default=Rescaling.size,
    show_default=True,
    help="Side of the square, shorter side, or longer side, in pixels; --geometry original has none.",
)
@click.option("--enlarge", is_flag=True, help="Enlarge smaller images too, with --geometry shorter or longer.")
@click.option(
    "--resampling",
    default="authors",
    show_default=True,
    help="Filter: authors (as the paper's authors), bicubic, bilinear or lanczos.",
)
@click.option(
    "--max-pixels",
    default=Rescaling.max_pixels,
    show_default=True,
    help="Pixels of the largest image; a larger one is rejected. The default keeps a worker below 1 GB of memory. WebP "
    "and AVIF may have a half of it, JPEG 2000 a quarter.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the shuffle, of --limit and of --val-fraction.")
@click.option("--limit", type=int, help="Maximum number of images per split, chosen at random. [default: all]")
@click.option(
    "--val-fraction", type=float, help="Share of each class that becomes val, 0..1, for a source that has only train."
)
@click.option("--class-names", type=PATH, help="File with a line '<class id><tab><name>' for each class.")
@click.option("--classes", type=PATH, help="File with the class ids to use, one per line. [default: all]")
@click.option(
    "--label-order",
    default="wnid",
    show_default=True,
    help="Order of the labels: wnid (sorted ids) or ilsvrc (the devkit's numbers).",
)
@click.option(
    "--max-rejected",
    default=0.05,
    show_default=True,
    help="Maximum number of images that may be left out: a count, or a share below 1.",
)
@click.option(
    "--reject-suspect",
    is_flag=True,
    help="Leave out JPEGs that are damaged in the middle. Without it they are used, and listed in suspect.jsonl. Needs "
    "freelight[fast].",
)
@click.option(
    "--metadata",
    is_flag=True,
    help="Add a .json to each sample: class id and name, path and upright size of its source.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Compare every file of a finished dataset with its hash, and make again what is missing or changed: from "
    "what is left, from --from, or from --images and the options that it was made with.",
)
@click.option("--from", "copy", help="Another copy of the dataset for --repair: its folder or URL.")
@click.option(
    "--append",
    is_flag=True,
    help="Append --images to a finished dataset, as further shards; give the options that it was made with.",
)
@click.option("--split", help="With --append: the split of images that lie in class folders alone. [default: train]")
@storage_options
@click.option("--dry-run", is_flag=True, help="Print what would be made, and write nothing.")
@with_output
@reports_errors
def command(
    images: Path | None,
    out: str,
    workers: CountOrAuto,
    cluster: str | None,
    staging: Path | None,
    samples_per_shard: int | None,
    quality: int,
    geometry: str,
    size: int,
    enlarge: bool,
    resampling: str,
    max_pixels: int,
    seed: int,
    limit: int | None,
    max_rejected: float,
    reject_suspect: bool,
    metadata: bool,
    repair: bool,
    copy: str | None,
    append: bool,
    storage_options: dict[str, Any] | None,
    split: str | None,
    dry_run: bool,
    **listing: Any,
) -> None:
    rescaling = Rescaling(
        geometry=geometry, size=size, enlarge=enlarge, quality=quality, resampling=resampling, max_pixels=max_pixels
    )
    settings = ShardSettings(
        rescaling=rescaling,
        samples_per_shard=samples_per_shard,
        seed=seed,
        limit=limit,
        reject_suspect=reject_suspect,
        metadata=metadata,
    )
    if images is None and not repair:
        raise click.UsageError("Missing option '--images'.")
    if copy is not None and not repair:
        raise click.UsageError("--from needs --repair.")
    if split is not None and not (append or repair):
        raise click.UsageError("--split needs --append.")
    if repair + append + dry_run > 1:
        raise click.UsageError("--repair, --append and --dry-run exclude each other.")
    where: Any = {"workers": workers, "cluster": cluster, "staging": staging, "storage_options": storage_options}
    source = None if images is None else list_images(images, seed=seed, **listing)
    if source is None or repair:
        made, repaired = repair_dataset(
            out, source=source, settings=settings, copy=copy, watch=counting("files"), **where
        )
        whole = f"{out}: every file is as it was written, fingerprint {made.fingerprint[:12]}"
        say_result([*repaired, whole], {"dataset": out, "repaired": list(repaired), "fingerprint": made.fingerprint})
    elif dry_run:
        lines = list(summarize_source(source, settings, out))
        say_result(lines, {"source": str(images), "layout": source.layout, "lines": lines})
    else:
        watches: Any = {"watch": counting_images("images"), "watch_ordered": counting_images("reading in order")}
        make = functools.partial(append_shards, split=split) if append else make_shards
        made = make(source, out, settings, max_rejected=max_rejected, **where, **watches)
        say_result(summarize_dataset(made, out), dataset_figures(made, out))
