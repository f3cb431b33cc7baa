"""Draw labelled pictures in an ImageNet-style folder tree, for the demo and the tests."""

from pathlib import Path

import click

from freelight.demo.drawing import CLASSES, draw_pictures


@click.command(name="draw-pictures", help=__doc__)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--train-per-class", default=100, show_default=True, help="Training pictures a class.")
@click.option("--val-per-class", default=20, show_default=True, help="Validation pictures a class.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
def command(out: Path, train_per_class: int, val_per_class: int, seed: int) -> None:
    try:
        drawn = draw_pictures(out, train_per_class=train_per_class, val_per_class=val_per_class, seed=seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(
        f"{out}: {drawn.train} train and {drawn.val} val pictures of {len(CLASSES)} classes; "
        f"defects: {', '.join(f'{name} {path.name}' for name, path in drawn.defects.items())}"
    )
