"""Measure the loader in a new process and print JSON.

Arguments: `start DATASET`, or `memory DATASET BATCH_SIZE EPOCHS`.
"""

import json
import resource
import sys
import time
import tracemalloc
from pathlib import Path

from freelight.benchmarks.memory import peak_memory_mb
from freelight.pipeline import Loader, Transform, draw_epoch
from freelight.shards import Dataset, Statistics


def measure_start(folder: str) -> dict[str, float]:
    """Return the seconds from making a loader to its first batch, and the peak memory of drawing an epoch, in MB."""
    dataset = Dataset(folder)
    statistics = Statistics.load(folder)
    start = time.perf_counter()
    loader = Loader(dataset, "train", batch_size=256, transform=Transform(), statistics=statistics)
    next(iter(loader))
    seconds = time.perf_counter() - start
    samples = len(loader.split)
    tracemalloc.start()  # counts numpy's arrays; the process's own peak may already include free memory
    draws = draw_epoch(samples, seed=0, epoch=1)
    kept = Transform().windows(draws, dataset.require_squares()), Transform().flips(draws)
    return {"seconds": seconds, "draws_mb": tracemalloc.get_traced_memory()[1] / 1e6, "samples": len(kept[0])}


def measure_memory(folder: str, batch: str, epochs: str) -> dict[str, float]:
    """Return the peak memory, in MB, and the growth of resident memory since the fifth epoch, in %."""
    loader = Loader(
        Dataset(folder), "train", batch_size=int(batch), transform=Transform(), statistics=Statistics.load(folder)
    )
    after = []
    for _ in range(int(epochs)):
        for _batch in loader:
            pass
        after.append(_memory_mb())
    settled = after[min(4, len(after) - 1)]
    return {"peak_mb": peak_memory_mb(), "growth_percent": 100 * (after[-1] - settled) / settled}


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps(measure_start(*arguments) if what == "start" else measure_memory(*arguments)))
