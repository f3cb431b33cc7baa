"""One software at work, in its own environment: SIDE TASK ARGUMENTS, where SIDE is a module beside this one.

Tasks, and what they print as JSON:
- `prepare LISTING OUT`: makes squares of the listed files, again in each round, as `freelight.benchmarks.protocol`.
- `convert DATASET OUT`: brings the JPEGs of a dataset into the software's own format. Prints its bytes a sample.
- `load FOLDER CROP BATCH OUTPUT`: loads one epoch in each round, as `freelight.benchmarks.protocol`.
- `start FOLDER CROP BATCH OUTPUT`: seconds from the start of the process to the first batch, and the most memory that
  its processes hold in an epoch, MB; pages that they share count once.
- `stop FOLDER CROP BATCH OUTPUT STATE BATCHES`: saves the state after so many batches, and goes on to the end of the
  epoch. Prints a hash of the labels and one of the pixels of each later batch.
- `resume FOLDER CROP BATCH OUTPUT STATE`: the same batches, in a new process, from the state; and the seconds from the
  start of the process to the first of them.
- `stream URL ENDPOINT CACHE BYTES CROP BATCH OUTPUT`: opens a dataset in an S3 store with an empty cache of so many
  bytes in the folder CACHE, and loads one epoch, in each round.
- `cache ...`: the same once. Prints the most bytes that the folder CACHE held.

A side has `DISTRIBUTIONS`, whose versions are printed; `convert` and `open_loader`, whose loader yields images and
labels and may have `state_dict` and `load_state_dict`; some have `prepare`, and `open_remote`.
"""

import contextlib
import hashlib
import importlib
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from freelight.benchmarks.protocol import serve
from freelight.benchmarks.sides.pictures import dataset_parts, listed_files


def main() -> None:
    """Do one task."""
    name, task, *words = sys.argv[1:]
    side = importlib.import_module(f"freelight.benchmarks.sides.{name}")
    if task == "prepare":
        _prepare(side, *words)
    elif task == "stream":
        serve(lambda: _stream(side, *words), side.DISTRIBUTIONS)
    elif task == "load":
        with _open(side, *words) as loader:
            serve(lambda: sum(len(images) for images, _ in loader), side.DISTRIBUTIONS)
    else:
        with os.fdopen(os.dup(1), "w") as replies:
            os.dup2(2, 1)  # what the software prints must not mix with the reply
            print(json.dumps(TASKS[task](side, *words)), file=replies)
            replies.flush()
            os._exit(0)  # some leave threads behind that never end


def _prepare(side: Any, listing: str, out: str) -> None:
    files = listed_files(listing)

    def prepare() -> int:
        shutil.rmtree(out, ignore_errors=True)
        side.prepare(files, out)
        return len(files)

    serve(prepare, side.DISTRIBUTIONS)


def _convert(side: Any, dataset: str, out: str) -> float:
    parts = dataset_parts(dataset)
    side.convert(dataset, parts, out)
    return folder_bytes(Path(out)) / len(parts)


def _start(side: Any, *words: str) -> dict[str, float]:
    first, most = 0.0, 0.0
    with _open(side, *words) as loader:
        for _ in loader:
            first = first or _age()
            most = max(most, _memory_mb())
    return {"seconds": first, "memory_mb": most}


def _stop(side: Any, *words: str) -> list[list[str]]:
    *given, state, batches = words
    with _open(side, *given) as loader:
        rest = []
        for number, batch in enumerate(loader, 1):
            if number > int(batches):
                rest.append(_hashes(*batch))
            elif number == int(batches):
                Path(state).write_bytes(pickle.dumps(loader.state_dict()))
    return rest


def _resume(side: Any, *words: str) -> dict[str, Any]:
    *given, state = words
    with _open(side, *given) as loader:
        loader.load_state_dict(pickle.loads(Path(state).read_bytes()))
        first, rest = 0.0, []
        for batch in loader:
            first = first or _age()
            rest.append(_hashes(*batch))
    return {"seconds": first, "rest": rest}


def _stream(side: Any, url: str, endpoint: str, cache: str, limit: str, crop: str, batch: str, output: str) -> int:
    shutil.rmtree(cache, ignore_errors=True)
    Path(cache).mkdir(parents=True)
    empty = tempfile.mkdtemp(dir=cache)  # another one in each round: some remember what a folder held
    os.environ.update(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1")
    _seed()
    with side.open_remote(url, endpoint, empty, int(limit), crop, int(batch), output) as loader:
        return sum(len(images) for images, _ in loader)


def _cache(side: Any, *words: str) -> int:
    most, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.01):
            with contextlib.suppress(FileNotFoundError):  # a file went while it was looked at
                most = max(most, folder_bytes(Path(words[2])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _stream(side, *words)
    finally:
        ended.set()
        watcher.join()
    return most


TASKS: dict[str, Callable[..., Any]] = {
    "convert": _convert,
    "start": _start,
    "stop": _stop,
    "resume": _resume,
    "cache": _cache,
}


@contextlib.contextmanager
def _open(side: Any, folder: str, crop: str, batch: str, output: str) -> Iterator[Any]:
    _seed()
    with side.open_loader(folder, crop, int(batch), output) as loader:
        yield loader


def _seed() -> None:
    """Make random numbers the same in every process, as far as a seed can do it, and let torch use the workers only."""
    import torch

    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)


def _hashes(images: Any, labels: Any) -> list[str]:
    """Return a hash of the labels and one of the pixels."""
    return [hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() for value in (labels, images)]


def _age() -> float:
    """Return the seconds since this process was started."""
    started = int(Path("/proc/self/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def _memory_mb() -> float:
    """Return the memory of this process and all below it, MB of 10^6 bytes, each page shared among its users."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        folder = Path("/proc", str(waiting.pop()))
        with contextlib.suppress(OSError):  # it ended
            lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
    return total / 1e6


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder, bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
