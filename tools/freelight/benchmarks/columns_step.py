"""Contender: a training step in two processes, each with one column and one thread. Argument: images per batch."""

import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing

from freelight.benchmarks.protocol import serve
from freelight.benchmarks.step import Step, random_batch
from freelight.train import RECIPES, Columns


def join(rank: int, folder: Path) -> Step:
    """Join the process group and return this process's step."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    columns = Columns(processes=2, rank=rank, group=dist.group.WORLD)
    return Step(RECIPES["paper"], compile_=True, columns=columns)


def follow(folder: Path, images: int) -> None:
    """Run the second process: take a step whenever the first one does."""
    step = join(1, folder)
    while True:
        dist.barrier()
        step(*random_batch(images))


def main() -> None:
    """Run the first process, which follows the protocol."""
    images = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        context.Process(target=follow, args=(Path(folder), images), daemon=True).start()
        step = join(0, Path(folder))

        def work() -> int:
            dist.barrier()
            return step(*random_batch(images))

        serve(work, ("torch",))


if __name__ == "__main__":
    main()
