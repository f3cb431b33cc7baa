"""Run the experiment behind a claim of the paper.

Prints the paper's result, ours, the difference and the conditions. Run the same command again to continue after a
stop: training resumes from its last checkpoint; evaluation and benchmarks start again. Exit code 1: the budget ran out
before the end.
"""

import time

import click

from freelight.lazy_group import LazyGroup

CLAIMS = {
    "figure1": "Compare ReLU with tanh on CIFAR-10: epochs to 25 % training error",
    "lrn-cifar": "Compare the error on CIFAR-10 with and without response normalisation",
    "ablation": "Measure what one part of the paper's recipe is worth",
    "free": "Measure what augmentation costs in training time",
    "reuse": "Compare ResNet-18 trained by torchvision's loader and by ours",
    "table1": "List the commands for the paper's Table 1 and their cost, or run them",
    "table2": "List the commands for the paper's Table 2 and their cost, or run them",
    "fall2009": "List the commands for the paper's Fall 2009 errors and their cost, or run them",
}


class Claims(LazyGroup):
    """The claims. Their budget counts from here, because their imports take seconds."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Note the time in the context, and import the claim of that name."""
        context.obj = time.monotonic()
        return super().get_command(context, name)


@click.group(name="reproduce", cls=Claims, package="freelight.claims", short_helps=CLAIMS, help=__doc__)
def command() -> None:
    pass
