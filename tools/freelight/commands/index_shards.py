"""Make a dataset of existing WebDataset tars without copying them.

Each tar is read once. Local tars are linked, and tars behind a URL stay there. Run the same command again to continue
after a stop; the bytes are the same.
"""

from pathlib import Path

import click

from freelight.shards import dataset_figures, index_shards, list_tars, summarize_dataset, summarize_tars
from freelight.shards.base import (
    Command,
    CountOrAuto,
    counting_images,
    reports_errors,
    say_result,
    with_output,
    with_workers,
)

PATH = click.Path(path_type=Path)


@click.command(
    name="index-shards",
    help=__doc__,
    cls=Command,
    groups={
        "Source": "split label field class-names check max-rejected",
        "Result": "out dry-run quiet json",
        "Computing": "workers",
    },
    examples=(
        "freelight index-shards --out dataset --split train='tars/train-{0000..1023}.tar'",
        "freelight index-shards --out coco --split train='coco/*.tar' --field boxes=xywh:json:objects.bbox",
    ),
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    required=True,
    metavar="SPLIT=TARS",
    help="Tars of a split: train='train-{0000..1023}.tar', with {a,b}, *, ? and [...]; also a URL. Repeat it for each "
    "split.",
)
@click.option("--out", type=PATH, required=True, help="Dataset directory to write or to continue.")
@click.option(
    "--label",
    default="cls",
    show_default=True,
    help="Where the labels are: extension of a member, or json:KEY for a value in the .json.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=PLACE",
    help="Keep numbers of each sample: area=json:area (a value in the .json) or embedding=npy (a member). Boxes say "
    "their form, boxes=xyxy:json:boxes or boxes=xywh:json:objects.bbox (COCO); a field named boxes is xyxy unless it "
    "says xywh. Repeat it for each field.",
)
@click.option(
    "--class-names",
    type=PATH,
    help="Classes in label order: lines '<class id><tab><name>', a .json, or a dataset card (.md). [default: a list "
    "beside the tars]",
)
@click.option(
    "--check",
    default="crc",
    show_default=True,
    help="crc: checksums, and sizes from headers; decode: also decode each picture as the loader does.",
)
@with_workers
@click.option(
    "--max-rejected",
    default=0.05,
    show_default=True,
    help="Maximum number of samples that may be left out: a count, or a share below 1.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be indexed, and write nothing.")
@with_output
@reports_errors
def command(
    splits: tuple[str, ...],
    out: Path,
    label: str,
    fields: tuple[str, ...],
    class_names: Path | None,
    check: str,
    workers: CountOrAuto,
    max_rejected: float,
    dry_run: bool,
) -> None:
    source = list_tars(splits, label=label, check=check, class_names=class_names, fields=fields)
    if dry_run:
        lines = list(summarize_tars(source))
        say_result(lines, {"splits": {split.name: len(split.tars) for split in source.splits}, "lines": lines})
    else:
        watch = counting_images("images")
        made = index_shards(source, out, workers=workers, max_rejected=max_rejected, watch=watch)
        say_result(summarize_dataset(made, out), dataset_figures(made, out))
