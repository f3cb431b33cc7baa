"""The loader: batches of a split as torch tensors, every sample once per epoch, resumable at any batch."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from ..shards import Dataset, FreelightError, Statistics
from ..shards.base import check, instance_of, integer, record, text, whole_number
from .decoder import Decoder
from .draws import Order, draw_epoch, share_of
from .exchange import Exchange
from .graph import Layout, graph_feed
from .reading import OnError, SampleReader, Share, UndecodableError
from .transform import Transform

_READ_ONLY = {
    *("dataset", "split", "batch_size", "statistics", "seed", "order", "rank", "world_size", "device", "num_threads"),
    *("prefetch", "layout", "group", "check_exchange", "drop_last"),
}


MOST_THREADS, MOST_PREFETCH = 4096, 1024
"""Limits: more are a mistake, and would take the machine's memory."""


class Batch(NamedTuple):
    """images: of the transform's dtype, (n, 3, size, size) or (n, 10, 3, size, size). labels: int64 (n,).

    samples: int32 (n,), the indices of these samples in the split, on the CPU.
    """

    images: torch.Tensor
    labels: torch.Tensor
    samples: npt.NDArray[np.int32]


class Loader:
    """Iterate over this rank's share of every batch of an epoch; iterate again for the next epoch.

    dataset, split: the source of the samples. batch_size: images per step, over all ranks. Each of the `world_size`
    ranks gets a share; shares differ by at most one sample, and all ranks take the same number of steps. The last batch
    is short, and a rank's share of it may be empty. transform: what is done to each image. statistics: of the training
    set, if the transform needs them for mean or lighting. order: `global` (a new permutation each epoch) or
    `sequential`. device: "cpu" or a CUDA device. A CUDA batch is ready on the CUDA stream that is current when it is
    requested; keep a reference to it while another stream uses it. prefetch: batches decoded ahead. layout: order of
    the axes of a batch. group: for model parallelism, the processes that need the same whole batch: each decodes its
    share, then they exchange shares. check_exchange: verify by checksums that all ranks of the group hold the same
    batch. drop_last: leave out a short last batch. on_error: `raise` an error for a damaged sample, or `skip` up to
    `max_skipped` of them (`skipped` maps each to its reason).

    The state is (seed, epoch, position). A new iterator continues after the last batch that an unfinished one returned.
    Another loader does so too after `load_state_dict`, on any number of ranks. A thread reads ahead; it is reused for
    the next epoch, and ends with the loader or with an unfinished iteration. A newer iterator, `set_epoch` or
    `load_state_dict` ends the current iterator: its next step raises an error. `wait_seconds` is the total time that
    iteration waited for batches.

    Settings are read-only, because the draws and the state depend on them. Only `transform` can be set, between epochs.
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
        check_exchange: bool = False,
        drop_last: bool = False,
        on_error: OnError = "raise",
        max_skipped: int = 0,
    ) -> None:
        rank, world_size = whole_number("rank", rank), whole_number("world_size", world_size)
        if not 0 <= rank < world_size:
            raise FreelightError(f"`rank` (={rank}) must lie in 0..world_size-1 (`world_size`={world_size})")
        self.dataset: Final = instance_of(Dataset, "dataset", dataset)
        self.split: Final = dataset.split(instance_of(str, "split", split))
        self.batch_size: Final = whole_number("batch_size", batch_size, least=1)
        self._transform = instance_of(Transform, "transform", transform)
        self.statistics: Final = None if statistics is None else instance_of(Statistics, "statistics", statistics)
        self.seed: Final = whole_number("seed", seed)
        self.order: Final[Order] = order
        self.rank: Final = rank
        self.world_size: Final = world_size
        self.device: Final = _resolve(device)
        self.num_threads: Final = whole_number("num_threads", num_threads, least=1, most=MOST_THREADS)
        self.prefetch: Final = whole_number("prefetch", prefetch, most=MOST_PREFETCH)
        self.layout: Final[Layout] = layout
        self.group: Final = group
        self.check_exchange: Final = instance_of(bool, "check_exchange", check_exchange)
        self.drop_last: Final = instance_of(bool, "drop_last", drop_last)
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
        if self._remaining(0) == 0:
            raise FreelightError(
                f"{split} has {len(self.split)} samples, fewer than a batch of {batch_size}: use smaller batches, or "
                "drop_last=False"
            )
        # One reader thread for all epochs: a new one per epoch makes glibc open new arenas, which keep old JPEGs.
        self._thread = _reader_thread()
        # A finished epoch leaves its decoder idle, for the next one; an unfinished one drops it.
        self._idle: Decoder | None = self._define()
        self._running: Decoder | None = None
        self._draw(0)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse to change a setting: a state saved after the change would not match the draws made before."""
        if name in _READ_ONLY and name in vars(self):
            raise AttributeError(f"Loader.{name} is read-only; make another Loader")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        """Return the number of steps in an epoch, the same on every rank."""
        return -(-self._remaining(0) // self.batch_size)

    @property
    def transform(self) -> Transform:
        """What is done to each image. It may be set between epochs, not inside one."""
        return self._transform

    @transform.setter
    def transform(self, transform: Transform) -> None:
        if self._position and self._remaining(self._position):
            raise FreelightError("the transform may change at an epoch's boundary, not inside an epoch; see set_epoch")
        instance_of(Transform, "transform", transform)
        self._stop()
        before, self._transform = self._transform, transform
        try:
            self._idle = self._define()
        except FreelightError:
            self._transform = before
            raise
        self._draw(self._epoch)

    @property
    def bytes_read(self) -> int:
        """Number of bytes of JPEGs that this rank has read."""
        return self._reader.bytes_read

    @property
    def skipped(self) -> dict[int, str]:
        """The damaged samples that this rank has skipped, with the reason."""
        return self._reader.skipped

    @property
    def epoch(self) -> int:
        """The epoch of the current iteration, or of the last one."""
        return self._epoch

    @property
    def position(self) -> int:
        """Number of samples of the epoch returned so far, over all ranks."""
        return self._position

    def set_epoch(self, epoch: int) -> None:
        """Start `epoch` with the next iteration. An unfinished `epoch` continues; a finished one starts again."""
        epoch = whole_number("epoch", epoch)
        if epoch != self._epoch or not self._remaining(self._position):
            self._stop()
            self._draw(epoch)
            self._epoch, self._position = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last batch: integers, and the dataset and settings that they belong to."""
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
        """Resume from a state, made with any world size and batch size.

        Raises `FreelightError` if it is no state, or is for another dataset, split, seed or order; and, inside an
        epoch, if it is for another transform.
        """
        own = self.state_dict()
        check(
            state,
            record({key: integer() if isinstance(value, int) else text() for key, value in own.items()}),
            where="the loader's state",
            remedy="pass what state_dict returned",
        )
        inside = state["position"] > 0 and self._remaining(state["position"]) > 0
        for key in ("fingerprint", "split", "seed", "order", *(["transform"] if inside else [])):
            if state[key] != own[key]:
                raise FreelightError(f"the loader's state is for another {key}: {state[key]!r}, not {own[key]!r}")
        whole_number("position", state["position"], most=len(self.split))
        self._stop()
        self.set_epoch(state["epoch"])
        self._position = state["position"]

    def __iter__(self) -> Iterator[Batch]:
        self._stop()
        if not self._remaining(self._position):
            self.set_epoch(self._epoch + 1)
        while self._remaining(self._position):
            try:
                yield from self._iterate()
            except UndecodableError as error:  # the pipeline cannot be used after it; a new one repeats the batch
                self._reader.skip(error.sample, error)

    def _iterate(self) -> Iterator[Batch]:
        end = self._position + self._remaining(self._position)
        steps = [
            self._draws.order[first : min(first + self.batch_size, end)]
            for first in range(self._position, end, self.batch_size)
        ]
        decoder = self._idle or self._define()
        self._idle, self._running = None, decoder
        try:
            shares = [share_of(step, self.rank, self.world_size) for step in steps]
            decoder.reads.start(self._thread, self._read, shares, self.prefetch + 2)
            batches = decoder.decode(steps)
            if self.group is not None:
                batches = self._exchange(self.group).whole_batches(batches)
            start = time.perf_counter()
            for step, images, samples in batches:
                labels = self._to_device(self._labels[samples])
                self.wait_seconds += time.perf_counter() - start
                self._position += len(step)
                yield Batch(images, labels, samples)
                if self._running is not decoder:
                    raise FreelightError(
                        "this iteration is over: another was started, or set_epoch, load_state_dict or a new transform "
                        "moved the loader; iterate again"
                    )
                start = time.perf_counter()
            decoder.end_epoch()
            self._idle, self._running = decoder, None
            self.split.close()
        finally:
            if self._running is decoder:
                self._stop()

    def _exchange(self, group: dist.ProcessGroup) -> Exchange:
        may_skip = self._reader.on_error == "skip"
        return Exchange(group, rank=self.rank, world_size=self.world_size, may_skip=may_skip, check=self.check_exchange)

    def _remaining(self, position: int) -> int:
        """Return the number of samples left in the epoch after `position`, over all ranks."""
        remaining = max(0, len(self.split) - position)
        return remaining // self.batch_size * self.batch_size if self.drop_last else remaining

    def _draw(self, epoch: int) -> None:
        """Draw an epoch: its order, and what the transform does to each sample."""
        self._draws = draw_epoch(len(self.split), seed=self.seed, epoch=epoch, order=self.order)
        self._choices = self.transform.choose(self._draws, self.dataset.image_size, self.statistics)

    def _stop(self) -> None:
        """End the running iteration, if any. Batches decoded ahead are dropped with its pipeline."""
        if self._running is not None:
            decoder, self._running = self._running, None
            thread, self._thread = self._thread, _reader_thread()
            try:
                thread.shutdown(cancel_futures=True)
            finally:  # also when Ctrl-C ends the wait for a slow read
                decoder.reads.clear()
                self.split.close()

    def _define(self) -> Decoder:
        return Decoder(
            self.transform,
            self._reader,
            image_size=self.dataset.image_size,
            statistics=self.statistics,
            share_size=min(-(-self.batch_size // self.world_size), len(self.split)),
            num_threads=self.num_threads,
            prefetch=self.prefetch,
            device=self.device,
            layout=self.layout,
        )

    def _read(self, share: Share, later: Share) -> tuple[Share, list[Any]]:
        """Read one share's JPEGs and look up its draws. Returns its undamaged samples and the graph's inputs."""
        self._reader.announce(later)
        share, jpegs = self._reader.read(share)
        return share, graph_feed(self._choices, share, jpegs)

    def _to_device(self, labels: npt.NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(labels)
        # Pinned memory: copying from other memory waits for all work that is queued on the device.
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def _resolve(wanted: object) -> torch.device:
    """Return the CPU, or a CUDA device with its index: without one, that of `torch.cuda.set_device`."""
    try:
        device = torch.device(wanted)  # type: ignore[call-overload]
        found = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    except (RuntimeError, TypeError):
        found = False
    if not found:
        raise FreelightError(f"`device` {str(wanted)!r} is neither the CPU nor a CUDA device that torch finds")
    if device.type == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def _reader_thread() -> ThreadPoolExecutor:
    """Return an executor whose one thread starts with the first read."""
    return ThreadPoolExecutor(1, thread_name_prefix="freelight-read")
