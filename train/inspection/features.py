"""Feature vectors of a split, one per sample, in a memory-mapped file: a network's fc7 activations, or plain pixels.

`<split>.<space>.npy` exists only when it is complete. Until then the rows are in `<split>.<space>.npy.partial`, and
`<split>.<space>.json` holds how many are done, the dataset and the network. So a stopped extraction resumes, and the
vectors of another network or dataset are refused.
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
from ...shards.base import Array, atomic_write, integer, map_array, naming_file, read_json, record, text
from ..checkpoint import Checkpoint
from ..evaluation.passes import evaluation_loader
from ..evaluator import default_device

Space = Literal["fc7", "pixels"]
"""What a vector holds: the last hidden layer's activations for the centre view, or that view averaged to 32 x 32."""
Vectors = npt.NDArray[np.float32]
Watch = Callable[[Iterable[int], int], Iterator[int]]
"""Wraps an iterable of sample counts, given their total, to show progress."""

THUMBNAIL = 32
"""Side of the pictures in the space `pixels`, pixels."""
REMEDY = "delete it and extract the features again"
BATCHES = 16
"""Batches between two notes of the progress."""


def no_watch(counts: Iterable[int], total: int) -> Iterator[int]:
    """Show no progress."""
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
    """Return the vectors of a split, float32 (samples, features), in the order written, mapped from a file in `folder`.

    Extracts them if the file is not complete; a stopped extraction resumes. watch: wraps the sample counts of batches.
    Raises `FreelightError` if the file belongs to another network or dataset.
    """
    if space not in get_args(Space):
        raise FreelightError(f"`space` (={space}) must be one of {', '.join(get_args(Space))}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.{space}.npy"
    origin = {"space": space, "split": split, "dataset": dataset.fingerprint, "network": _identity(trained, space)}
    shape = len(dataset.split(split)), _width(trained, space)
    done = _finished_rows(path, origin, shape)
    if not path.exists():
        loader = evaluation_loader(trained, dataset, split, views=1, batch_size=batch_size, device=default_device())
        for _ in watch(_extract(trained, loader, path, origin, done), len(loader.split)):
            pass
    return _map(path, shape)


def open_features(path: Path) -> Vectors:
    """Map a complete file of vectors: float32 (samples, features). Raises `FreelightError` for any other file."""
    return _map(path, ("samples", "features"))


def _map(path: Path, shape: tuple[int | str, int | str]) -> Vectors:
    try:
        return map_array(path, Array(np.float32, shape), remedy=REMEDY)
    except FileNotFoundError:
        raise FreelightError(f"there is no file {path}; {REMEDY}") from None


def _width(trained: Checkpoint, space: Space) -> int:
    """Return the length of a vector."""
    if space == "pixels":
        return 3 * THUMBNAIL**2
    last = [name for name in trained.weights if name.endswith(".weight")][-1]
    return trained.weights[last].shape[1]


def compute_vectors(trained: Checkpoint, views: torch.Tensor, space: Space) -> torch.Tensor:
    """Return the vectors (n, features) of centre views (n, 3, S, S), on the CPU."""
    device = default_device()
    return _encoder(trained, space, device)(views.to(device)).float().cpu()


def _extract(trained: Checkpoint, loader: Loader, path: Path, origin: dict[str, str], done: int) -> Iterator[int]:
    """Write the rows from `done` on, then give the file its name; yield the sample count of each batch."""
    encode = _encoder(trained, origin["space"], str(loader.device))
    partial = _partial(path)
    if partial.is_symlink():  # it would lead to a file elsewhere
        raise FreelightError(f"{partial} is a symbolic link; {REMEDY}")
    loader.load_state_dict({**loader.state_dict(), "position": done})
    rows: np.memmap[Any, np.dtype[np.float32]] | None = None
    if done:
        _reserve(partial)  # version 0.1 did not
        rows = np.lib.format.open_memmap(partial, mode="r+")
        yield done
    for number, (images, _, samples) in enumerate(loader, 1):
        vectors = encode(images).float().cpu().numpy()
        if rows is None:
            rows = _new_rows(partial, (len(loader.split), vectors.shape[1]))
        rows[samples.cpu().numpy()] = vectors
        if number % BATCHES == 0:
            rows.flush()
            _write_note(path, origin, loader.position)
        yield len(samples)
    assert rows is not None
    rows.flush()
    _write_note(path, origin, loader.position)
    del rows
    os.replace(partial, path)


def _new_rows(path: Path, shape: tuple[int, int]) -> "np.memmap[Any, np.dtype[np.float32]]":
    """Create and map a file of rows, with its space reserved. A full disk leaves no file."""
    try:
        with naming_file(path):
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        _reserve(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return rows


def _reserve(path: Path) -> None:
    """Reserve the disk space of all of a file: a write to a mapped page that gets none would kill the process."""
    with naming_file(path), open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _encoder(trained: Checkpoint, space: str, device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if space == "pixels":
        return lambda images: F.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1)
    network = trained.network().to(device)
    dtype = next(network.parameters()).dtype

    @torch.no_grad()
    def encode(images: torch.Tensor) -> torch.Tensor:
        return network.features(images.to(dtype))

    return encode


def _identity(trained: Checkpoint, space: str) -> str:
    """Return a digest of everything that the vectors depend on: recipe and mean image, and for fc7 the weights.

    The recipe's header is text only. Without it, the digest is the one of release 0.1, whose files stay valid.
    """
    settings = {key: value for key, value in trained.recipe.asdict().items() if key != "header"}
    digest = hashlib.sha256(trained.statistics.require_mean_image().tobytes())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    if space != "pixels":
        for name, tensor in sorted(trained.weights.items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _write_note(path: Path, origin: dict[str, str], done: int) -> None:
    with atomic_write(path.with_suffix(".json")) as file:
        file.write(json.dumps({**origin, "done": done}).encode())


def _finished_rows(path: Path, origin: dict[str, str], shape: tuple[int, int]) -> int:
    """Return how many rows are done. Raises `FreelightError` if they have another origin or shape."""
    fields = {**dict.fromkeys(origin, text()), "done": integer(most=shape[0])}
    try:
        found = read_json(path.with_suffix(".json"), record(fields), remedy=REMEDY)
    except FileNotFoundError:
        path.unlink(missing_ok=True)  # vectors of unknown origin
        return 0
    for name, value in origin.items():
        if found.get(name) != value:
            raise FreelightError(f"{path} is for another {name}; give another folder as `features`, or delete this one")
    if not path.exists():
        if not _partial(path).exists():
            return 0
        _map(_partial(path), shape)
    return int(found["done"])
