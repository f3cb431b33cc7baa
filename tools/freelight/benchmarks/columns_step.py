"""Contender: a training step in two processes with one column each. Arguments: images per batch, and cpu or cuda.

On the CPU each has one thread. On GPUs they communicate by NCCL, or by gloo if both share one.
"""

import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import multiprocessing

from freelight.benchmarks.protocol import serve
from freelight.benchmarks.step import Step, random_batch
from freelight.train import RECIPES, Columns


def device_of(rank: int, kind: str) -> torch.device:
    """Return the device of a process."""
    return torch.device("cpu") if kind == "cpu" else torch.device("cuda", rank % torch.cuda.device_count())


def join(rank: int, folder: Path, device: torch.device) -> Step:
    """Join the process group and return this process's step."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(device)
    backend = "nccl" if torch.cuda.device_count() > 1 and device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    columns = Columns(processes=2, rank=rank, group=dist.group.WORLD)
    return Step(RECIPES["paper"], compile_=True, columns=columns, device=device)


def follow(folder: Path, images: int, kind: str) -> None:
    """Run the second process: take a step whenever the first one does."""
    device = device_of(1, kind)
    step = join(1, folder, device)
    while True:
        dist.barrier()
        step(*random_batch(images, device))


def main() -> None:
    """Run the first process, which follows the protocol."""
    images, kind = int(sys.argv[1]), sys.argv[2]
    device = device_of(0, kind)
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        context.Process(target=follow, args=(Path(folder), images, kind), daemon=True).start()
        step = join(0, Path(folder), device)

        def work() -> int:
            dist.barrier()
            count = step(*random_batch(images, device))
            if device.type == "cuda":
                torch.cuda.synchronize()
            return count

        serve(work, ("torch",))


if __name__ == "__main__":
    main()
