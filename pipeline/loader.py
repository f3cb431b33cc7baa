"""The loader: batches of a split as torch tensors, every sample exactly once an epoch, resumable at any batch."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from nvidia.dali import Pipeline
from torch.utils.dlpack import from_dlpack

from ..shards import Dataset, FreelightError, Statistics
from .exchange import swap_shares
from .graph import Layout, define_pipeline, graph_feed
from .order import Order, draw_epoch, share_of
from .transforms import Transform


class Batch(NamedTuple):
    """images: of the transform's dtype, (n, 3, crop, crop) or (n, 10, 3, crop, crop). labels: int64 (n,).

    samples: int32 (n,), which samples of the split these are, on the CPU.
    """

    images: torch.Tensor
    labels: torch.Tensor
    samples: npt.NDArray[np.int32]


class _ReadAhead:
    """The reads of one iteration, a few batches ahead of DALI: what its graph is fed."""

    def __init__(self) -> None:
        # Those under way, and those to come: memory holds a few batches of JPEGs, not an epoch.
        self._under_way: deque[Future[list[Any]]] = deque()
        self._to_come: Iterator[Future[list[Any]]] = iter(())
        self._reader: ThreadPoolExecutor | None = None

    def start(self, read: Callable[[Any], list[Any]], shares: list[Any], batches: int) -> None:
        """Read `shares` one after the other in a thread, at most `batches` ahead."""
        self._reader = reader = ThreadPoolExecutor(1, thread_name_prefix="freelight-read")
        self._to_come = (reader.submit(read, share) for share in shares)
        self._under_way.extend(itertools.islice(self._to_come, batches))

    def take(self) -> list[Any]:
        """Return the next batch's inputs, or raise what went wrong with them."""
        if not self._under_way:
            raise StopIteration
        self._under_way.extend(itertools.islice(self._to_come, 1))
        return self._under_way.popleft().result()

    def stop(self) -> None:
        """Drop what nobody will take, and wait for the thread to end."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._under_way.clear()
        self._to_come = iter(())


class Loader:
    """Iterate over this rank's share of every batch of an epoch; iterate again for the next epoch.

    dataset, split: where the samples come from. batch_size: the *global* batch; each of `world_size` ranks gets its
    share, equal to within one sample, and all ranks take the same number of steps. The last batch is short, and a
    rank's share of it may be empty. transform: what is done to each image. statistics: for the mean and the lighting,
    where the transform needs them. order: `global` (a fresh permutation each epoch) or `sequential`. device: "cpu" or
    a CUDA device, where a batch is ready on the stream that is current when it is asked for; hold it for as long as any
    other stream uses it. prefetch: batches decoded ahead. group: the processes of these ranks, when they are to share
    every batch (model parallelism): each decodes its share once, they swap, and every rank gets the whole batch.

    The state is (seed, epoch, position): breaking off an iteration and iterating again goes on after the last batch
    handed out, and so does another loader that `load_state_dict` has given the state, on any number of ranks.
    One iteration at a time: going on with one after another was begun, or the loader was moved, is an error.
    `wait_seconds` adds up the time that iterating was blocked for a batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        *,
        batch_size: int,
        transform: Transform,
        statistics: Statistics | None = None,
        seed: int = 0,
        order: Order = "global",
        rank: int = 0,
        world_size: int = 1,
        device: str | torch.device = "cpu",
        num_threads: int = 2,
        prefetch: int = 2,
        layout: Layout = "NCHW",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if batch_size < 1:
            raise FreelightError(f"batch_size (={batch_size}) must be at least 1")
        if not 0 <= rank < world_size:
            raise FreelightError(f"rank (={rank}) must lie in 0..world_size-1 (world_size={world_size})")
        if num_threads < 1:
            raise FreelightError(f"num_threads (={num_threads}) must be at least 1")
        if prefetch < 0:
            raise FreelightError(f"prefetch (={prefetch}) must not be negative")
        self.dataset = dataset
        self.split = dataset.split(split)
        self.batch_size = batch_size
        self.transform = transform
        self.statistics = statistics
        self.seed = seed
        self.order: Order = order
        self.rank = rank
        self.world_size = world_size
        self.device = _resolve(torch.device(device))
        self.num_threads = num_threads
        self.prefetch = prefetch
        self.layout: Layout = layout
        self.group = group
        self.wait_seconds = 0.0
        self._labels = self.split.samples["label"].astype(np.int64)
        self._epoch = 0
        self._position = 0
        self._draws = draw_epoch(len(self.split), seed=seed, epoch=0, order=order)
        # An iteration takes the pipeline, and gives it back if it comes to its end; `_reads` is the running one's.
        self._idle: tuple[_ReadAhead, Pipeline] | None = self._define()
        self._reads: _ReadAhead | None = None

    def __len__(self) -> int:
        """Return the number of steps in an epoch, the same on every rank."""
        return -(-len(self.split) // self.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch that is being iterated over, or was last."""
        return self._epoch

    @property
    def position(self) -> int:
        """How many samples of the epoch have been handed out, over all ranks."""
        return self._position

    def set_epoch(self, epoch: int) -> None:
        """Start `epoch` with the next iteration. Inside that epoch this changes nothing; at its end it starts over."""
        if epoch != self._epoch or self._position >= len(self.split):
            self._break_off()
            self._draws = draw_epoch(len(self.split), seed=self.seed, epoch=epoch, order=self.order)
            self._epoch, self._position = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last batch handed out: a few integers and the dataset's fingerprint."""
        return {
            "fingerprint": self.dataset.fingerprint,
            "split": self.split.name,
            "seed": self.seed,
            "order": self.order,
            "epoch": self._epoch,
            "position": self._position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, whatever the world size or batch size it was made with.

        Raises `FreelightError` when the state is of another dataset, split, seed or order.
        """
        own = self.state_dict()
        for key in ("fingerprint", "split", "seed", "order"):
            if state[key] != own[key]:
                raise FreelightError(f"the loader's state is of another {key}: {state[key]!r}, here {own[key]!r}")
        self._break_off()
        self.set_epoch(state["epoch"])
        self._position = state["position"]

    def __iter__(self) -> Iterator[Batch]:
        self._break_off()
        if self._position >= len(self.split):
            self.set_epoch(self._epoch + 1)
        steps = [
            self._draws.order[first : first + self.batch_size]
            for first in range(self._position, len(self.split), self.batch_size)
        ]
        shares = [share_of(step, self.rank, self.world_size) for step in steps]
        handed_out = shares if self.group is None else steps
        reads, pipeline = self._idle or self._define()
        self._idle, self._reads = None, reads
        try:
            reads.start(self._read, [share for share in shares if len(share)], self.prefetch + 2)
            for step, share, samples in zip(steps, shares, handed_out, strict=True):
                start = time.perf_counter()
                images = self._run(pipeline) if len(share) else self._empty()
                if self.group is not None:
                    sizes = [len(share_of(step, rank, self.world_size)) for rank in range(self.world_size)]
                    images = swap_shares(images, sizes, self.group)
                labels = self._to_device(self._labels[samples])
                self.wait_seconds += time.perf_counter() - start
                self._position += len(step)
                yield Batch(images, labels, samples)
                if self._reads is not reads:
                    raise FreelightError("this iteration is over: another was begun, or the loader was moved; use that")
            _run_out(pipeline)
            self._idle = reads, pipeline
        finally:
            if self._reads is reads:
                self._break_off()

    def _break_off(self) -> None:
        """End the iteration under way, if there is one. Batches that nobody will take go with its pipeline."""
        if self._reads is not None:
            reads, self._reads = self._reads, None
            reads.stop()
            self.split.close()

    def _define(self) -> tuple[_ReadAhead, Pipeline]:
        reads = _ReadAhead()
        return reads, define_pipeline(
            self.transform,
            source=reads.take,
            image_size=self.dataset.image_size,
            statistics=self.statistics,
            batch_size=-(-self.batch_size // self.world_size),
            num_threads=self.num_threads,
            prefetch=self.prefetch + 1,
            device_id=self.device.index,
            layout=self.layout,
        )

    def _read(self, share: npt.NDArray[np.int32]) -> list[Any]:
        """Read one batch's JPEGs and look its draws up: what the graph is fed."""
        return graph_feed(
            self.transform,
            self._draws,
            share,
            [self.split.read(index) for index in share.tolist()],
            image_size=self.dataset.image_size,
            statistics=self.statistics,
        )

    def _run(self, pipeline: Pipeline) -> torch.Tensor:
        if self.device.type == "cpu":
            (output,) = pipeline.run()
        else:
            with torch.cuda.device(self.device):
                (output,) = pipeline.run(torch.cuda.current_stream())
        # No copy: DALI's executor gives a buffer out again only when the tensor is gone.
        images: torch.Tensor = from_dlpack(output.as_tensor())
        return images

    def _to_device(self, labels: npt.NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(labels)
        # From pinned memory, or the host would wait for all that the device has queued.
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)

    def _empty(self) -> torch.Tensor:
        shape: tuple[int, ...] = (3, self.transform.crop, self.transform.crop)
        if self.layout == "NHWC":
            shape = (*shape[1:], shape[0])
        if self.transform.views == "ten":
            shape = (10, *shape)
        return torch.empty((0, *shape), dtype=getattr(torch, self.transform.dtype), device=self.device)


def _resolve(device: torch.device) -> torch.device:
    """Return the CPU, or a CUDA device with its index: that of `torch.cuda.set_device` where none is named."""
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda" or not torch.cuda.is_available():
        raise FreelightError(f"device {str(device)!r} is neither the CPU nor a CUDA device that torch finds")
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def _run_out(pipeline: Pipeline) -> None:
    """Let DALI see the end of the epoch, after which it starts another."""
    try:
        pipeline.run()
    except StopIteration:
        pipeline.reset()
