"""A vector for each sample of a split, in a memory-mapped file: a network's fc7 activations, or plain pixels.

The file has its name only when every row is in it. Until then the rows are in `<name>.partial`, and how many of them
are there is in `<name>.json`, which also says of what they are: so a stopped extraction goes on, and rows of another
network or dataset are never taken for these.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ...pipeline import Loader
from ...shards import Dataset, FreelightError
from ...shards.base.atomic import atomic_write
from ..checkpoint import Checkpoint
from ..evaluation.passes import evaluation_loader
from ..evaluator import default_device

Space = Literal["fc7", "pixels"]
"""What a row is: the centre view's activations in the last hidden layer; or its pixels, averaged to 32 x 32."""
Vectors = npt.NDArray[np.float32]
Watch = Callable[[Iterable[int], int], Iterator[int]]

THUMBNAIL = 32
BATCHES = 16  # between notes of how far it is


def no_watch(counts: Iterable[int], total: int) -> Iterator[int]:
    """Show nothing."""
    yield from counts


def extract_features(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    folder: Path,
    *,
    space: Space = "fc7",
    batch_size: int = 64,
    watch: Watch = no_watch,
) -> Vectors:
    """Return the vectors of a split, (samples, features), in the order written: mapped from `folder`, made if need be.

    An extraction that was stopped goes on. watch: wraps the counts of finished samples, of so many in all. Raises
    `FreelightError` when the folder holds those of another network, or of other data.
    """
    if space not in get_args(Space):
        raise FreelightError(f"space {space!r} is not one of {', '.join(get_args(Space))}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.{space}.npy"
    what = {"space": space, "split": split, "dataset": dataset.fingerprint, "network": _identity(trained, space)}
    done = _check(path, what)
    if not path.exists():
        loader = evaluation_loader(trained, dataset, split, views=1, batch_size=batch_size, device=default_device())
        for _ in watch(_extract(trained, loader, path, what, done), len(loader.split)):
            pass
    return open_features(path)


def open_features(path: Path) -> Vectors:
    """Map a finished file of vectors: float32 (samples, features)."""
    try:
        mapped: Vectors = np.load(path, mmap_mode="r")
        return mapped
    except (OSError, EOFError, ValueError) as error:
        raise FreelightError(f"{path} cannot be read ({error}); delete it and extract the features again") from None


def vectors_of(trained: Checkpoint, images: torch.Tensor, space: Space) -> torch.Tensor:
    """Return the vectors (n, features) of centre views (n, 3, S, S), on the CPU."""
    device = default_device()
    return _encode(trained, space, device)(images.to(device)).float().cpu()


def _extract(trained: Checkpoint, loader: Loader, path: Path, what: dict[str, str], done: int) -> Iterator[int]:
    """Write rows from `done` on, and at last the file's name; yield how many samples each batch had."""
    encode = _encode(trained, what["space"], str(loader.device))
    partial = path.with_name(f"{path.name}.partial")
    loader.load_state_dict({**loader.state_dict(), "position": done})
    rows: np.memmap[Any, np.dtype[np.float32]] | None = None
    if done:
        rows = np.lib.format.open_memmap(partial, mode="r+")
        yield done
    for number, (images, _, samples) in enumerate(loader, 1):
        vectors = encode(images).float().cpu().numpy()
        if rows is None:
            shape = (len(loader.split), vectors.shape[1])
            rows = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        rows[samples] = vectors
        if number % BATCHES == 0:
            rows.flush()
            _note(path, what, loader.position)
        yield len(samples)
    assert rows is not None
    rows.flush()
    _note(path, what, loader.position)
    del rows
    os.replace(partial, path)


def _encode(trained: Checkpoint, space: str, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if space == "pixels":
        return lambda images: F.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1)
    network = trained.network().to(device)
    precision = next(network.parameters()).dtype

    @torch.no_grad()
    def encode(images: torch.Tensor) -> torch.Tensor:
        return network.features(images.to(precision))

    return encode


def _identity(trained: Checkpoint, space: str) -> str:
    """Name the network by its weights; of pixels, what is subtracted from them."""
    digest = hashlib.sha256(trained.statistics.mean_image.tobytes())
    digest.update(json.dumps(trained.recipe.asdict(), sort_keys=True, default=str).encode())
    if space != "pixels":
        for name, tensor in sorted(trained.weights.items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _note(path: Path, what: dict[str, str], done: int) -> None:
    with atomic_write(path.with_suffix(".json")) as file:
        file.write(json.dumps({**what, "done": done}).encode())


def _check(path: Path, what: dict[str, str]) -> int:
    """Return how many rows are there. Raises `FreelightError` if they are of something else."""
    note = path.with_suffix(".json")
    if not note.exists():
        path.unlink(missing_ok=True)  # of what it is, nobody knows
        return 0
    found = json.loads(note.read_text())
    for name, value in what.items():
        if found.get(name) != value:
            raise FreelightError(f"{path} is of another {name}; name another --features folder, or delete this one")
    there = path.exists() or path.with_name(f"{path.name}.partial").exists()
    return int(found["done"]) if there else 0
