"""Run an example while its loaders note each batch, and kill it at one: `recorded.py NOTES EXAMPLE ARGUMENT...`.

NOTES/<process>.txt gets a line for each batch that the loader hands out: split, epoch, position before it, samples.
KILL="train 1 114" kills the process with SIGKILL when that batch of rank 0 is due. PACKAGES is a folder of packages to
add to those of the environment.
"""

import os
import runpy
import signal
import site
import sys
from pathlib import Path
from typing import Any

if "PACKAGES" in os.environ:
    site.addsitedir(os.environ["PACKAGES"])

from freelight.pipeline import Loader

notes_folder, example, *arguments = sys.argv[1:]
notes = Path(notes_folder, f"{os.getpid()}.txt")
make_batch = Loader._batch


def note(loader: Loader, images: Any, samples: Any, *others: Any) -> Any:
    """Note a batch as it is made, which is when the consumer asks for it."""
    place = f"{loader.split.name} {loader.epoch} {loader.position}"
    if place == os.environ.get("KILL") and loader.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    with notes.open("a") as file:
        print(place, *samples.tolist(), file=file)
    return make_batch(loader, images, samples, *others)


Loader._batch = note  # type: ignore[method-assign]
sys.argv = [example, *arguments]
runpy.run_path(example, run_name="__main__")
