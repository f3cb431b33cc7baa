"""Measure Freelight's speed against bare loops and other software.

Exit code 1: a floor was missed.
"""

import click

from freelight.lazy_group import LazyGroup

BENCHMARKS = {
    "shards": "Measure rescaling, shard making and fidelity on one set of images",
    "pca": "Measure compute_pca on the shards of a split",
    "index": "Measure index_shards on existing tars",
    "loader": "Measure loading on two threads, and the loader's memory",
    "decode": "Measure ways to decode JPEGs, and how far their pixels are from the CPU's",
    "augment": "Measure augmentations on two threads, and each op on one",
    "train": "Measure a training step of the full network on two threads",
    "step": "Measure a training step by precision, memory order, compilation and batch size",
    "host": "Measure the processor time that the host spends beside decoding",
    "free": "Measure training steps with and without loading and augmentation",
    "shuffle": "Measure how well the windowed order mixes",
    "compare": "Compare preparing, loading and resuming with other software on the same images",
    "remote": "Measure the first epoch of a dataset in an object store, with a small cache",
    "peers": "Make the virtual environments of the software that benchmarks compare with",
}


@click.group(name="benchmark", cls=LazyGroup, package="freelight.benchmarks", short_helps=BENCHMARKS, help=__doc__)
def command() -> None:
    pass
