"""Measure the loader in a new process and print JSON.

Arguments: `start DEVICE DATASET`, or `memory DEVICE DATASET BATCH_SIZE EPOCHS`.
"""

import json
import resource
import sys
import time
import tracemalloc
from pathlib import Path

import torch

from freelight.benchmarks.memory import peak_memory_mb
from freelight.pipeline import Loader, Transform, draw_epoch
from freelight.shards import Dataset, Statistics


def measure_start(device: str, folder: str) -> dict[str, float]:
    """Return the seconds from making a loader to its first batch, and the peak memory of drawing an epoch, in MB."""
    dataset = Dataset(folder)
    statistics = Statistics.load(folder)
    torch.empty(1, device=device)  # a GPU's own start takes seconds
    start = time.perf_counter()
    loader = Loader(dataset, "train", batch_size=256, transform=Transform(), statistics=statistics, device=device)
    next(iter(loader))
    seconds = time.perf_counter() - start
    samples = len(loader.split)
    tracemalloc.start()  # counts numpy's arrays; the process's own peak may already include free memory
    draws = draw_epoch(samples, seed=0, epoch=1)
    kept = Transform().windows(draws, dataset.require_squares()), Transform().flips(draws)
    return {"seconds": seconds, "draws_mb": tracemalloc.get_traced_memory()[1] / 1e6, "samples": len(kept[0])}


def measure_memory(device: str, folder: str, batch: str, epochs: str) -> dict[str, float]:
    """Return the peak memory, in MB, and the growth of resident memory since the fifth epoch, in %; of a GPU's too."""
    loader = Loader(
        Dataset(folder),
        "train",
        batch_size=int(batch),
        transform=Transform(),
        statistics=Statistics.load(folder),
        device=device,
    )
    after, gpu_after = [], []
    for _ in range(int(epochs)):
        for _batch in loader:
            pass
        after.append(_memory_mb())
        if loader.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(loader.device)
            gpu_after.append((total - free) / 1e6)
    return {
        "peak_mb": peak_memory_mb(),
        "growth_percent": _growth(after),
        **({"gpu_growth_percent": _growth(gpu_after)} if gpu_after else {}),
    }


def _growth(after: list[float]) -> float:
    """Return the growth since the fifth epoch, in %. after: megabytes after each epoch."""
    settled = after[min(4, len(after) - 1)]
    return 100 * (after[-1] - settled) / settled


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps(measure_start(*arguments) if what == "start" else measure_memory(*arguments)))
