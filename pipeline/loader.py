"""The loader: batches of a split as torch tensors, every sample exactly once an epoch, resumable at any batch."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from nvidia.dali import Pipeline
from torch.utils.dlpack import from_dlpack

from ..shards import Dataset, FreelightError, Statistics
from .draws import Order, draw_epoch, share_of
from .exchange import begin_swap, check_shares, swap_shares, swap_sizes
from .graph import Layout, define_pipeline, graph_feed
from .reading import OnError, ReadAhead, SampleReader, Share, UndecodableError
from .transform import Transform

Decoded = tuple[Share, torch.Tensor, Share]
"""A step's samples on all ranks; the images of those that are here; and which those are."""


class Batch(NamedTuple):
    """images: of the transform's dtype, (n, 3, size, size) or (n, 10, 3, size, size). labels: int64 (n,).

    samples: int32 (n,), which samples of the split these are, on the CPU.
    """

    images: torch.Tensor
    labels: torch.Tensor
    samples: npt.NDArray[np.int32]


class Loader:
    """Iterate over this rank's share of every batch of an epoch; iterate again for the next epoch.

    dataset, split: where the samples come from. batch_size: the *global* batch; each of `world_size` ranks gets its
    share, equal to within one sample, and all ranks take the same number of steps. The last batch is short, and a
    rank's share of it may be empty. transform: what is done to each image. statistics: for the mean and the lighting,
    where the transform needs them. order: `global` (a fresh permutation each epoch) or `sequential`. device: "cpu" or
    a CUDA device, where a batch is ready on the stream that is current when it is asked for; hold it for as long as any
    other stream uses it. prefetch: batches decoded ahead. group: the processes of these ranks, when they are to share
    every batch (model parallelism): each decodes its share once, they swap, and every rank gets the whole batch.
    check_swaps: verify by hashes that all ranks hold the same. drop_last: leave a short last batch out. on_error:
    `raise` for a damaged sample, or `skip` up to `max_skipped` of them (`skipped` lists them with the reason).

    The state is (seed, epoch, position): breaking off an iteration and iterating again goes on after the last batch
    handed out, and so does another loader that `load_state_dict` has given the state, on any number of ranks.
    A thread reads ahead; it waits from one epoch to the next, and ends with the loader or with an iteration broken off.
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
        check_swaps: bool = False,
        drop_last: bool = False,
        on_error: OnError = "raise",
        max_skipped: int = 0,
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
        self._transform = transform
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
        self.check_swaps = check_swaps
        self.drop_last = drop_last
        self.wait_seconds = 0.0
        self._labels = self.split.samples["label"].astype(np.int64)
        self._epoch = 0
        self._position = 0
        split_bytes = sum(shard.bytes for shard in self.split.info.shards)
        if dataset.cache is not None and order == "global" and dataset.cache.limit < split_bytes:
            raise FreelightError(
                f"a global order reads all of {split}'s {split_bytes} bytes at random, but the cache holds "
                f"{dataset.cache.limit}: give cache_bytes={split_bytes}, or order='sequential'"
            )
        self._reader = SampleReader(self.split, on_error=on_error, max_skipped=max_skipped)
        if self._left(0) == 0:
            raise FreelightError(
                f"{split} has {len(self.split)} samples, fewer than a batch of {batch_size}: take smaller batches, or "
                "drop_last=False"
            )
        # Epochs that come to their end share a thread: one for each would, now and then, be given a heap of its own by
        # the C library, and the memory of some batches of JPEGs would stay in the last one's.
        self._thread = _thread()
        # An iteration takes the pipeline, and gives it back if it comes to its end; `_reads` is the running one's.
        self._idle: tuple[ReadAhead, Pipeline] | None = self._define()
        self._reads: ReadAhead | None = None
        self._draw(0)

    def __len__(self) -> int:
        """Return the number of steps in an epoch, the same on every rank."""
        return -(-self._left(0) // self.batch_size)

    @property
    def transform(self) -> Transform:
        """What is done to each image; another may be set at an epoch's boundary, but not inside an epoch."""
        return self._transform

    @transform.setter
    def transform(self, transform: Transform) -> None:
        if self._position and self._left(self._position):
            raise FreelightError("the transform may change at an epoch's boundary, not inside an epoch; see set_epoch")
        self._break_off()
        before, self._transform = self._transform, transform
        try:
            self._idle = self._define()
        except FreelightError:
            self._transform = before
            raise
        self._draw(self._epoch)

    @property
    def bytes_read(self) -> int:
        """How many bytes of JPEGs this rank has read."""
        return self._reader.bytes_read

    @property
    def skipped(self) -> dict[int, str]:
        """The damaged samples that this rank has left out, with the reason."""
        return self._reader.skipped

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
        if epoch != self._epoch or not self._left(self._position):
            self._break_off()
            self._draw(epoch)
            self._epoch, self._position = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last batch handed out: a few integers and what they belong to."""
        return {
            "fingerprint": self.dataset.fingerprint,
            "split": self.split.name,
            "seed": self.seed,
            "order": self.order,
            "transform": repr(self.transform),
            "epoch": self._epoch,
            "position": self._position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, whatever the world size or batch size it was made with.

        Raises `FreelightError` when the state is of another dataset, split, seed or order; or of another transform, if
        it was made inside an epoch.
        """
        own = self.state_dict()
        inside = state["position"] > 0 and self._left(state["position"]) > 0
        for key in ("fingerprint", "split", "seed", "order", *(["transform"] if inside else [])):
            if state[key] != own[key]:
                raise FreelightError(f"the loader's state is of another {key}: {state[key]!r}, here {own[key]!r}")
        self._break_off()
        self.set_epoch(state["epoch"])
        self._position = state["position"]

    def __iter__(self) -> Iterator[Batch]:
        self._break_off()
        if not self._left(self._position):
            self.set_epoch(self._epoch + 1)
        while self._left(self._position):
            try:
                yield from self._iterate()
            except UndecodableError as error:  # DALI's pipeline is of no use after it; the batch is due again
                self._reader.skip(error.sample, error)

    def _iterate(self) -> Iterator[Batch]:
        end = self._position + self._left(self._position)
        steps = [
            self._draws.order[first : min(first + self.batch_size, end)]
            for first in range(self._position, end, self.batch_size)
        ]
        reads, pipeline = self._idle or self._define()
        self._idle, self._reads = None, reads
        try:
            shares = [share_of(step, self.rank, self.world_size) for step in steps]
            reads.start(self._thread, self._read, shares, self.prefetch + 2)
            batches = self._decode(reads, pipeline, steps)
            if self.group is not None:
                batches = self._swap(batches, self.group)
            start = time.perf_counter()
            for step, images, samples in batches:
                labels = self._to_device(self._labels[samples])
                self.wait_seconds += time.perf_counter() - start
                self._position += len(step)
                yield Batch(images, labels, samples)
                if self._reads is not reads:
                    raise FreelightError("this iteration is over: another was begun, or the loader was moved; use that")
                start = time.perf_counter()
            _run_out(pipeline)
            self._idle, self._reads = (reads, pipeline), None
            self.split.close()
        finally:
            if self._reads is reads:
                self._break_off()

    def _left(self, position: int) -> int:
        """Return how many samples of an epoch are to come after so many, over all ranks."""
        left = max(0, len(self.split) - position)
        return left // self.batch_size * self.batch_size if self.drop_last else left

    def _draw(self, epoch: int) -> None:
        """Draw an epoch: the order, and each sample's window, flip and light."""
        self._draws = draw_epoch(len(self.split), seed=self.seed, epoch=epoch, order=self.order)
        self._choices = self.transform.choose(self._draws, self.dataset.image_size, self.statistics)

    def _break_off(self) -> None:
        """End the iteration under way, if there is one. Batches that nobody will take go with its pipeline."""
        if self._reads is not None:
            reads, self._reads = self._reads, None
            thread, self._thread = self._thread, _thread()
            try:
                thread.shutdown(cancel_futures=True)
            finally:  # also when Ctrl-C ends the wait for a slow read
                reads.drop()
                self.split.close()

    def _define(self) -> tuple[ReadAhead, Pipeline]:
        reads = ReadAhead()
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

    def _read(self, share: Share, later: Share) -> tuple[Share, list[Any]]:
        """Read one batch's JPEGs and look its draws up: what the graph is fed. Damaged samples may be left out."""
        self._reader.announce(later)
        share, jpegs = self._reader.read(share)
        return share, graph_feed(self.transform, self._choices, share, jpegs, image_size=self.dataset.image_size)

    def _run(self, pipeline: Pipeline, samples: Share) -> torch.Tensor:
        try:
            if self.device.type == "cpu":
                (output,) = pipeline.run()
            else:
                with torch.cuda.device(self.device):
                    (output,) = pipeline.run(torch.cuda.current_stream())
        except RuntimeError as error:
            self._reader.prove_decodable(samples, error)
            raise
        # No copy: DALI's executor gives a buffer out again only when the tensor is gone.
        images: torch.Tensor = from_dlpack(output.as_tensor())
        return images

    def _decode(self, reads: ReadAhead, pipeline: Pipeline, steps: list[Share]) -> Iterator[Decoded]:
        """Yield each step, and the images and samples of this rank's share of it."""
        for step in steps:
            samples = reads.samples()
            yield step, self._run(pipeline, samples) if len(samples) else self._empty(), samples

    def _swap(self, shares: Iterator[Decoded], group: dist.ProcessGroup) -> Iterator[Decoded]:
        """Give every rank of the group the whole batch: each is swapped while the one before it is being used.

        Not so where samples may be skipped: a rank that finds a damaged one begins its step again, and must not have
        begun the next while others wait for this one.
        """
        finish: Callable[[], Decoded] | None = None
        for step, images, samples in shares:
            begun = self._begin_swap(step, images, samples, group)
            if self._reader.on_error == "skip":
                yield begun()
                continue
            if finish is not None:
                yield finish()
            finish = begun
        if finish is not None:
            yield finish()

    def _begin_swap(
        self, step: Share, images: torch.Tensor, samples: Share, group: dist.ProcessGroup
    ) -> Callable[[], Decoded]:
        if self._reader.on_error == "raise":
            first = self.rank - group.rank()  # a group's ranks follow one another
            ranks = range(first, first + group.size())
            dealt = [share_of(step, rank, self.world_size) for rank in ranks]
            sizes, whole = [len(share) for share in dealt], np.concatenate(dealt)
        else:  # which samples were skipped, the others do not know
            sizes = swap_sizes(len(samples), group, self.device)
            whole = torch.cat(swap_shares(torch.from_numpy(samples).to(self.device), sizes, group)).cpu().numpy()
        swapped = begin_swap(images, sizes, group)

        def finish() -> Decoded:
            shares = swapped()
            if self.check_swaps:
                check_shares(images, shares, group)
            return step, torch.cat(shares), whole

        return finish

    def _to_device(self, labels: npt.NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(labels)
        # From pinned memory, or the host would wait for all that the device has queued.
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)

    def _empty(self) -> torch.Tensor:
        shape: tuple[int, ...] = (3, self.transform.crop.size, self.transform.crop.size)
        if self.layout == "NHWC":
            shape = (*shape[1:], shape[0])
        if self.transform.views > 1:
            shape = (self.transform.views, *shape)
        return torch.empty((0, *shape), dtype=getattr(torch, self.transform.dtype), device=self.device)


def _resolve(device: torch.device) -> torch.device:
    """Return the CPU, or a CUDA device with its index: that of `torch.cuda.set_device` where none is named."""
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda" or not torch.cuda.is_available():
        raise FreelightError(f"device {str(device)!r} is neither the CPU nor a CUDA device that torch finds")
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def _thread() -> ThreadPoolExecutor:
    """Return what starts a thread for reading with the first read, and ends it with the loader."""
    return ThreadPoolExecutor(1, thread_name_prefix="freelight-read")


def _run_out(pipeline: Pipeline) -> None:
    """Let DALI see the end of the epoch, after which it starts another."""
    try:
        pipeline.run()
    except StopIteration:
        pipeline.reset()
