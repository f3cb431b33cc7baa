"""The life of a DALI pipeline: defined once, fed by reads, run batch by batch, reset at the end of each epoch."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import torch
from nvidia.dali import Pipeline
from torch.utils.dlpack import from_dlpack

from ..shards import FreelightError, Statistics
from .choices import Choices
from .graph import Layout, begins_with_crops, define_pipeline, graph_feed
from .reading import ReadAhead, SampleReader, Share
from .resizer import Resizer
from .running import end_epoch, run
from .transform import Transform


class Decoded(NamedTuple):
    """One step. step: its samples on all ranks. samples: those of this rank. images: the images of `samples`."""

    step: Share
    images: torch.Tensor
    samples: Share


class Decoder:
    """A DALI pipeline and what feeds it; both are reused for every epoch.

    reader: reads the samples, and finds the one that DALI could not decode. share_size: maximum number of samples per
    batch on this rank. After an error or an unfinished epoch the decoder cannot be used again; make a new one.
    """

    def __init__(
        self,
        transform: Transform,
        reader: SampleReader,
        *,
        image_size: int | None,
        statistics: Statistics | None,
        share_size: int,
        num_threads: int,
        prefetch: int,
        device: torch.device,
        layout: Layout,
    ) -> None:
        self.transform = transform
        self._reader = reader
        self._device = device
        self._prefetch = prefetch
        self._reads = ReadAhead()
        self._fed: deque[list[Any]] = deque()
        self._resizer: Resizer | None = None
        if begins_with_crops(transform, device.index):
            self._resizer = Resizer(transform.crop, reader, share_size=share_size, num_threads=num_threads)
        reads, fed = self._reads, self._fed

        # No method: in a cycle with this object, the pipeline would be freed much later.
        def next_kept() -> list[Any]:
            """Return the graph's next inputs, and keep them until their batch is returned, as the resizer's."""
            inputs = reads.next_inputs()
            fed.append(inputs)
            return inputs

        self._pipeline: Pipeline = define_pipeline(
            transform,
            source=self._reads.next_inputs if self._resizer is None else next_kept,
            image_size=image_size,
            statistics=statistics,
            batch_size=share_size,
            num_threads=num_threads,
            prefetch=prefetch + 1 if self._resizer is None else min(prefetch, 1) + 1,  # it also works ahead
            device_id=device.index,
            layout=layout,
            from_crops=self._resizer is not None,
        )
        size = transform.crop.size
        shape = (3, size, size) if layout == "NCHW" else (size, size, 3)
        self._empty_shape = (0, *([transform.views] if transform.views > 1 else []), *shape)
        self._dtype: torch.dtype = getattr(torch, transform.dtype)

    def start(self, thread: ThreadPoolExecutor, shares: list[Share], choices: Choices) -> None:
        """Start to read the JPEGs of this rank's share of each step in `thread`. choices: of `Transform.choose`."""
        if self._resizer is None:
            self._reads.start(thread, partial(self._read_inputs, choices), shares, self._prefetch + 2)
        else:
            next_crops = self._resizer.start(thread, self._read, shares, choices)
            self._reads.start(self._resizer.thread, next_crops, shares, max(1, self._prefetch))

    def decode(self, steps: list[Share]) -> Iterator[Decoded]:
        """Yield the images of this rank's share of each step."""
        for step in steps:
            samples = self._reads.next_samples()
            yield Decoded(step, self._run(samples) if len(samples) else self._empty(), samples)

    def end_epoch(self) -> None:
        """Tell DALI that the epoch has ended, so that the next one can start."""
        end_epoch(self._pipeline)
        if self._resizer is not None:
            self._resizer.end_epoch()

    def stop(self) -> None:
        """End what works ahead, after the thread that reads; drop its batches."""
        self._reads.clear()
        if self._resizer is not None:
            self._resizer.stop()

    def _read(self, share: Share, later: Share) -> tuple[Share, list[bytes]]:
        """Read one share. Returns its undamaged samples and their JPEGs."""
        self._reader.announce(later)
        return self._reader.read(share)

    def _read_inputs(self, choices: Choices, share: Share, later: Share) -> tuple[Share, list[Any]]:
        """Read one share and look up its draws. Returns its undamaged samples and the graph's inputs."""
        samples, jpegs = self._read(share, later)
        return samples, graph_feed(choices, samples, jpegs)

    def _run(self, samples: Share) -> torch.Tensor:
        if self._device.type == "cpu":
            output = run(self._pipeline, samples, self._reader)
        else:
            with torch.cuda.device(self._device):
                output = run(self._pipeline, samples, self._reader, torch.cuda.current_stream())
        if self._resizer is not None:
            self._resizer.free(self._fed.popleft()[0])
        # No copy: DALI's executor reuses a buffer only after its tensor is gone.
        images: torch.Tensor = from_dlpack(output.as_tensor())
        return images.to(self._dtype)  # a copy for bfloat16 only, which DALI does not have

    def _empty(self) -> torch.Tensor:
        return torch.empty(self._empty_shape, dtype=self._dtype, device=self._device)


def resolve_device(wanted: object) -> torch.device:
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
