"""Feature vectors of a split, one per sample, in a memory-mapped file: a network's fc7 activations, or plain pixels."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F

from ...pipeline import Loader
from ...shards import Dataset, FreelightError
from ...shards.base import CountOrAuto
from ..checkpoint import Checkpoint
from ..evaluation.inference import inference
from ..evaluation.passes import evaluation_loader
from ..evaluation.rounds import Runs, Watch, gaps, in_rounds, no_watch, start_copy
from ..evaluator import default_device
from ..parallel.columns import Columns
from ..parallel.mesh import Mesh
from ..parallel.signals import StopRequest
from ..parallel.votes import StoppedError
from .vector_file import VectorFile, Vectors

Space = Literal["fc7", "pixels"]
"""What a vector holds: the last hidden layer's activations for the centre view, or that view averaged to 32 x 32."""

THUMBNAIL = 32
"""Side of the pictures in the space `pixels`, pixels."""


def extract_features(
    trained: Checkpoint,
    dataset: Dataset,
    split: str,
    folder: Path,
    *,
    space: Space = "fc7",
    batch_size: int = 64,
    num_threads: CountOrAuto = "auto",
    compile_: bool | None = None,
    mesh: Mesh = Mesh(),  # noqa: B008
    device: str | None = None,
    stop: StopRequest | None = None,
    watch: Watch = no_watch,
) -> Vectors | None:
    """Return the vectors of a split, float32 (samples, features), in the order written, mapped from a file in `folder`.

    Extracts them if the file is not complete; a stopped extraction resumes. Rank 0 writes the file, and maps it; other
    ranks return None (a collective). On the CPU the bits are the same on any number of processes and threads.
    batch_size, num_threads, compile_: as of `predict_split`. device: None takes the first GPU, else the CPU. watch:
    wraps the sample counts of batches, on rank 0. Raises `FreelightError` if the file belongs to another network or
    dataset, and `StoppedError` on every rank if `stop` holds a signal.
    """
    if space not in get_args(Space):
        raise FreelightError(f"`space` (={space}) must be one of {', '.join(get_args(Space))}")
    path, shape = folder / f"{split}.{space}.npy", (len(dataset.split(split)), _width(trained, space))
    file = None
    if mesh.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        origin = {"space": space, "split": split, "dataset": dataset.fingerprint, "network": _identity(trained, space)}
        file = VectorFile(path, origin, shape)
    done = mesh.from_rank_0(None if file is None else file.done)
    if gaps(done, shape[0]):
        where: dict[str, Any] = {"num_threads": num_threads, "mesh": mesh, "device": device or default_device()}
        with evaluation_loader(trained, dataset, split, views=1, batch_size=batch_size, **where) as loader:
            counts = _extract(trained, loader, space, done, file, compile_, mesh, stop)
            for _ in counts if mesh.rank else watch(counts, len(loader.split)):
                pass
    return None if file is None else file.vectors()


def _width(trained: Checkpoint, space: Space) -> int:
    """Return the length of a vector."""
    if space == "pixels":
        return 3 * THUMBNAIL**2
    last = [name for name in trained.weights if name.endswith(".weight")][-1]
    return trained.weights[last].shape[1]


def compute_vectors(trained: Checkpoint, views: torch.Tensor, space: Space) -> torch.Tensor:
    """Return the vectors (n, features) of centre views (n, 3, S, S), on the CPU."""
    device = default_device()
    with _encoder(trained, space, device, views=len(views)) as encode:
        return encode(views.to(device)).cpu()


def _extract(
    trained: Checkpoint,
    loader: Loader,
    space: Space,
    done: Runs,
    file: VectorFile | None,
    compile_: bool | None,
    mesh: Mesh,
    stop: StopRequest | None,
) -> Iterator[int]:
    """Compute the samples that are not done; rank 0 writes them to `file`; yield the sample count of each batch."""
    if done:
        yield sum(map(len, done))
    shown: Any = {"views": len(loader.split), "compile_": compile_}
    with _encoder(trained, space, str(loader.device), mesh.columns, **shown) as encode:

        def compute(_: range, images: torch.Tensor) -> Callable[[], Vectors]:
            return start_copy(encode(images))

        try:
            for parts in in_rounds(loader, compute, gaps(done, len(loader.split)), mesh, stop):
                for samples, vectors in parts:
                    assert file is not None, "rank 0 alone gets them"
                    file.write(samples, vectors)
                    yield len(samples)
        except StoppedError:
            if file is not None:
                file.note()
            raise
    if file is not None:
        file.finish()


@contextmanager
def _encoder(
    trained: Checkpoint,
    space: str,
    device: str,
    columns: Columns = Columns(),  # noqa: B008
    *,
    views: int,
    compile_: bool | None = None,
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Open what turns centre views (n, 3, S, S) into vectors (n, features), both on the device."""
    if space == "pixels":
        yield lambda images: F.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1)
        return
    with inference(trained, device, columns, views=views, compile_=compile_) as network:
        yield network.features


def _identity(trained: Checkpoint, space: str) -> str:
    """Return a digest of everything that the vectors depend on: recipe and mean image, and for fc7 the weights.

    The recipe's header is text only, and the window is of the order of training. Without them, the digest is the one of
    release 0.1, whose files stay valid.
    """
    settings = {key: value for key, value in trained.recipe.asdict().items() if key not in ("header", "window")}
    digest = hashlib.sha256(trained.statistics.require_mean_image().tobytes())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    if space != "pixels":
        for name, tensor in sorted(trained.weights.items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
