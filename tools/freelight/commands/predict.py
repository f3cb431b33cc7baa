"""Print the five most probable classes of picture files.

Prints text, or JSON with --json. --panel draws the paper's Figure 4 (left).
"""

import json
from pathlib import Path

import click

from freelight.pipeline.pictures import save_png
from freelight.shards.base import Command, OutputFile, reports_errors, say, with_quiet
from freelight.train import Checkpoint
from freelight.train.evaluation import predict_files
from freelight.train.inspection import Style, draw_predictions

FILE = click.Path(path_type=Path)


@click.command(
    name="predict",
    help=__doc__,
    cls=Command,
    groups={
        "Network": "checkpoint views",
        "Result": "json panel pixels quiet",
    },
    examples=(
        "freelight predict --checkpoint run/best.pt cat.jpg dog.png",
        "freelight predict --checkpoint run/best.pt --panel panel.png *.jpg",
    ),
)
@click.argument("images", type=FILE, nargs=-1, required=True)
@click.option("--checkpoint", type=FILE, required=True, help="Checkpoint of the network, such as RUN/best.pt.")
@click.option(
    "--views",
    type=click.Choice(["1", "10"]),
    default="10",
    show_default=True,
    help="1: the centre crop. 10: four corners and centre, also mirrored.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per image.")
@click.option(
    "--panel", type=OutputFile(".png"), help="The .png file for a picture of the images and their predictions."
)
@click.option("--pixels", default=1280, show_default=True, help="Maximum width of the panel, in pixels.")
@with_quiet
@reports_errors
def command(
    images: tuple[Path, ...], checkpoint: Path, views: str, as_json: bool, panel: Path | None, pixels: int
) -> None:
    style, trained, shown = Style(pixels=pixels), Checkpoint.load(checkpoint), []
    for prediction in predict_files(trained, images, views=int(views)):
        if as_json:
            say(json.dumps(prediction.asdict()))
        else:
            classes = ", ".join(f"{top.name} {top.probability:.1%}" for top in prediction.top_classes)
            say(f"{prediction.source}: {classes}")
        shown.append(prediction)
    if panel is not None:
        names = dict(zip(trained.class_ids, trained.class_names, strict=True))
        save_png(draw_predictions(shown, names, style), panel)
