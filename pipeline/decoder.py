"""The life of a DALI pipeline: defined once, fed by reads, run batch by batch, reset at the end of each epoch."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import torch
from nvidia.dali import Pipeline
from torch.utils.dlpack import from_dlpack

from ..shards import FreelightError, Statistics
from .graph import Layout, define_pipeline
from .reading import ReadAhead, SampleReader, Share
from .transform import Transform


class Decoded(NamedTuple):
    """One step. step: its samples on all ranks. samples: those of this rank. images: the images of `samples`."""

    step: Share
    images: torch.Tensor
    samples: Share


class Decoder:
    """A DALI pipeline and the reads that feed it; both are reused for every epoch.

    reads: start them before `decode`. reader: finds the sample that DALI could not decode. share_size: maximum number
    of samples per batch on this rank. After an error or an unfinished epoch the decoder cannot be used again; make a
    new one.
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
        self.reads = ReadAhead()
        self._reader = reader
        self._device = device
        self._pipeline: Pipeline = define_pipeline(
            transform,
            source=self.reads.next_inputs,
            image_size=image_size,
            statistics=statistics,
            batch_size=share_size,
            num_threads=num_threads,
            prefetch=prefetch + 1,
            device_id=device.index,
            layout=layout,
        )
        size = transform.crop.size
        shape = (3, size, size) if layout == "NCHW" else (size, size, 3)
        self._empty_shape = (0, *([transform.views] if transform.views > 1 else []), *shape)
        self._dtype: torch.dtype = getattr(torch, transform.dtype)

    def decode(self, steps: list[Share]) -> Iterator[Decoded]:
        """Yield the images of this rank's share of each step."""
        for step in steps:
            samples = self.reads.next_samples()
            yield Decoded(step, self._run(samples) if len(samples) else self._empty(), samples)

    def end_epoch(self) -> None:
        """Tell DALI that the epoch has ended, so that the next one can start."""
        try:
            self._pipeline.run()
        except StopIteration:
            self._pipeline.reset()

    def _run(self, samples: Share) -> torch.Tensor:
        try:
            if self._device.type == "cpu":
                (output,) = self._pipeline.run()
            else:
                with torch.cuda.device(self._device):
                    (output,) = self._pipeline.run(torch.cuda.current_stream())
        except RuntimeError as error:
            self._reader.prove_decodable(samples, error)
            if not re.search(r"operator `[\w.]*decoders\.", str(error)):
                raise
            raise FreelightError(
                f"DALI decodes not all of the samples from {self._reader.split.describe(int(samples[0]))} to "
                f"{self._reader.split.describe(int(samples[-1]))}, though Pillow does; make the dataset again"
            ) from error
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
