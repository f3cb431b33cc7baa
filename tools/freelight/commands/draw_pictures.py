"""Draw labelled pictures for the demo and the tests.

Writes them to train/<class>/ and val/<class>/, as in ImageNet. One file is damaged on purpose.
"""

from pathlib import Path

import click

from freelight.demo.drawing import CLASSES, draw_pictures
from freelight.shards.base import Command, naming_file, reports_errors, say_result, with_output


@click.command(
    name="draw-pictures",
    help=__doc__,
    cls=Command,
    groups={
        "Pictures": "train-per-class val-per-class seed",
        "Result": "out quiet json",
    },
    examples=(
        "freelight draw-pictures --out photos",
        "freelight draw-pictures --out photos --train-per-class 20 --val-per-class 5",
    ),
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New or empty folder to write.")
@click.option("--train-per-class", default=100, show_default=True, help="Training pictures per class.")
@click.option("--val-per-class", default=20, show_default=True, help="Validation pictures per class.")
@click.option("--seed", default=0, show_default=True, help="Seed of the drawing; the same seed gives the same bytes.")
@with_output
@reports_errors
def command(out: Path, train_per_class: int, val_per_class: int, seed: int) -> None:
    try:
        with naming_file(out):
            drawn = draw_pictures(out, train_per_class=train_per_class, val_per_class=val_per_class, seed=seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    say_result(
        f"{out}: {drawn.train} train and {drawn.val} val pictures of {len(CLASSES)} classes; "
        f"defects: {', '.join(f'{name} {path.name}' for name, path in drawn.defects.items())}",
        {"out": str(out), "train": drawn.train, "val": drawn.val, "classes": len(CLASSES)},
    )
