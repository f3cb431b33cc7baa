"""The console command `freelight`."""

import click

from freelight import __version__
from freelight.lazy_group import LazyGroup

SHORT_HELPS = {
    "make-shards": "Rescale labelled images, or keep them whole, and write them as WebDataset shards",
    "index-shards": "Make a dataset of existing WebDataset tars without copying them",
    "compute-pca": "Compute a dataset's mean image and RGB eigenbasis",
    "verify-shards": "Check every file of a dataset and name each damaged sample",
    "decode": "Decode a dataset's images ahead of training",
    "preview": "Draw a page of a dataset's images as training sees them",
    "train": "Train AlexNet on a dataset, or resume a stopped run",
    "evaluate": "Measure the errors of trained networks on a split",
    "predict": "Print the five most probable classes of picture files",
    "find-similar": "Find the images that a network finds most similar to others",
    "export": "Write a trained network as a file for other software",
    "report": "Write a report of a run as one HTML page",
    "reproduce": "Run the experiment behind a claim of the paper",
    "benchmark": "Measure Freelight's speed against bare loops and other software",
    "gpu-acceptance": "Run Freelight on a card for the first time: tests, benchmarks and training, in parts",
    "gpu-bundle": "Pack Freelight, its wheels and a dataset for a machine with a card and without a network",
    "draw-pictures": "Draw labelled pictures for the demo and the tests",
    "demo": "Run the whole chain on drawn pictures, from shards to report",
}
"""The first sentence of each command's help, without its full stop."""


@click.group(name="freelight", cls=LazyGroup, package="freelight.commands", short_helps=SHORT_HELPS)
@click.version_option(__version__, prog_name="freelight")
def main() -> None:
    """Turn ImageNet into WebDataset shards, load augmented batches, and train AlexNet as its authors did."""


def train() -> None:
    """Run the command `train`, which is a console command of its own too."""
    command = main.get_command(click.Context(main), "train")
    assert command is not None
    command(prog_name="train")
