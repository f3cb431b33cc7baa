"""The loader: batches of a split as torch tensors, every sample exactly once an epoch, resumable at any batch."""

import itertools
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from nvidia.dali import Pipeline

from ..shards import Dataset, FreelightError, Statistics
from .graph import Layout, define_pipeline, graph_inputs
from .order import Order, draw_epoch, share_of
from .transforms import Transform


class Batch(NamedTuple):
    """images: of the transform's dtype, (n, 3, crop, crop) or (n, 10, 3, crop, crop). labels: int64 (n,).

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
    a CUDA device. prefetch: batches decoded ahead.

    The state is (seed, epoch, position): breaking off an iteration and iterating again goes on after the last batch
    handed out, and so does another loader that `load_state_dict` has given the state, on any number of ranks.
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
    ) -> None:
        if batch_size < 1:
            raise FreelightError(f"batch_size (={batch_size}) must be at least 1")
        if not 0 <= rank < world_size:
            raise FreelightError(f"rank (={rank}) must lie in 0..world_size-1 (world_size={world_size})")
        self.dataset = dataset
        self.split = dataset.split(split)
        self.batch_size = batch_size
        self.transform = transform
        self.statistics = statistics
        self.seed = seed
        self.order: Order = order
        self.rank = rank
        self.world_size = world_size
        self.device = torch.device(device)
        self.num_threads = num_threads
        self.prefetch = prefetch
        self.layout: Layout = layout
        self.wait_seconds = 0.0
        self._labels = self.split.samples["label"].astype(np.int64)
        self._epoch = 0
        self._position = 0
        self._draws = draw_epoch(len(self.split), seed=seed, epoch=0, order=order)
        # Reads under way, and the generator of those to come: memory holds a few batches of JPEGs, not an epoch.
        self._ready: deque[Future[list[Any]]] = deque()
        self._waiting: Iterator[Future[list[Any]]] = iter(())
        self._pipeline = self._define()

    def __len__(self) -> int:
        """Return the number of steps in an epoch, the same on every rank."""
        return -(-len(self.split) // self.batch_size)

    @property
    def epoch(self) -> int:
        """The epoch that is being iterated over, or was last."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Start `epoch` with the next iteration. Within the current epoch this changes nothing."""
        if epoch != self._epoch:
            self._epoch, self._position = epoch, 0
            self._draws = draw_epoch(len(self.split), seed=self.seed, epoch=epoch, order=self.order)

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
        self.set_epoch(state["epoch"])
        self._position = state["position"]

    def __iter__(self) -> Iterator[Batch]:
        if self._position >= len(self.split):
            self.set_epoch(self._epoch + 1)
        steps = [
            self._draws.order[first : first + self.batch_size]
            for first in range(self._position, len(self.split), self.batch_size)
        ]
        shares = [share_of(step, self.rank, self.world_size) for step in steps]
        finished = False
        with ThreadPoolExecutor(1, thread_name_prefix="freelight-read") as reader:
            self._waiting = (reader.submit(self._read, share) for share in shares if len(share))
            self._ready.extend(itertools.islice(self._waiting, self.prefetch + 2))
            try:
                for step, share in zip(steps, shares, strict=True):
                    start = time.perf_counter()
                    images = self._run() if len(share) else self._empty()
                    labels = torch.from_numpy(self._labels[share]).to(self.device)
                    self.wait_seconds += time.perf_counter() - start
                    self._position += len(step)
                    yield Batch(images, labels, share)
                finished = True
            finally:
                for future in self._ready:
                    future.cancel()
                self._ready.clear()
                if finished:
                    self._run_out()
                else:  # batches are under way that nobody will take
                    self._pipeline = self._define()
                self.split.close()

    def _define(self) -> Pipeline:
        return define_pipeline(
            self.transform,
            source=self._next_inputs,
            image_size=self.dataset.image_size,
            statistics=self.statistics,
            batch_size=-(-self.batch_size // self.world_size),
            num_threads=self.num_threads,
            prefetch=self.prefetch + 1,
            device_id=None if self.device.type == "cpu" else self.device.index or 0,
            layout=self.layout,
        )

    def _read(self, share: npt.NDArray[np.int32]) -> list[Any]:
        """Read one batch's JPEGs and look its draws up: what the graph is fed."""
        inputs: dict[str, Any] = {"jpeg": [np.frombuffer(self.split.read(index), np.uint8) for index in share.tolist()]}
        names = graph_inputs(self.transform)
        if "top" in names:
            offsets, flips = self.transform.random_windows(self._draws, share, self.dataset.image_size)
            # DALI rounds fraction * span to the nearest pixel, so each offset comes out as drawn.
            fractions = offsets.astype(np.float32) / max(1, self.transform.span(self.dataset.image_size))
            inputs.update(top=fractions[:, 0].copy(), left=fractions[:, 1].copy(), flip=flips)
        if "light" in names:
            assert self.statistics is not None
            inputs["light"] = self.transform.light_shifts(self._draws, share, self.statistics)
        return [inputs[name] for name in names]

    def _next_inputs(self) -> list[Any]:
        if not self._ready:
            raise StopIteration
        self._ready.extend(itertools.islice(self._waiting, 1))
        return self._ready.popleft().result()

    def _run(self) -> torch.Tensor:
        if self.device.type == "cpu":
            (output,) = self._pipeline.run()
        else:
            (output,) = self._pipeline.run(torch.cuda.current_stream(self.device))
        # No copy: DALI's executor gives a buffer out again only when the tensor is gone.
        images: torch.Tensor = torch.from_dlpack(output.as_tensor())
        return images

    def _run_out(self) -> None:
        """Let DALI see the end of the epoch, after which it starts another."""
        try:
            self._pipeline.run()
        except StopIteration:
            self._pipeline.reset()

    def _empty(self) -> torch.Tensor:
        shape: tuple[int, ...] = (3, self.transform.crop, self.transform.crop)
        if self.layout == "NHWC":
            shape = (*shape[1:], shape[0])
        if self.transform.views == "ten":
            shape = (10, *shape)
        return torch.empty((0, *shape), dtype=getattr(torch, self.transform.dtype), device=self.device)
