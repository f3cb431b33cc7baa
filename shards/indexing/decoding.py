"""Prove that samples decode, with the loader's own decoder: DALI on the CPU."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .samples import Sample

_BATCH, _BATCH_PIXELS = 32, 16_000_000
"""Samples, and pixels, that are decoded at a time."""


def checked_by_decoding(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield samples whose pictures were kept. One that DALI does not decode to its header's size gets a fault."""
    decoder = _Decoder()
    for batch in _batches(samples):
        sound = [sample for sample in batch if not sample.fault]
        if not decoder.decodes(sound):
            for sample in sound:
                if not decoder.decodes([sample]):
                    sample.fault = "DALI does not decode it, or not to the size in its header"
        yield from batch


def _batches(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    pixels = 0
    for sample in samples:
        batch.append(sample)
        if not sample.fault:
            header = sample.pictures[0].header
            pixels += header.height * header.width
        if len(batch) == _BATCH or pixels > _BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    yield batch


class _Decoder:
    """A DALI pipeline that decodes. After an error DALI needs a new one."""

    def __init__(self) -> None:
        self._pipeline: Any = None

    def decodes(self, samples: list[Sample]) -> bool:
        """Tell whether all of these samples decode, each to the size in its header."""
        if not samples:
            return True
        if self._pipeline is None:
            self._pipeline = _build()
        pictures = [sample.pictures[0] for sample in samples]
        self._pipeline.feed_input("encoded", [np.frombuffer(picture.data, np.uint8) for picture in pictures])
        try:
            (images,) = self._pipeline.run()
        except RuntimeError:
            self._pipeline = None
            return False
        wanted = [(picture.header.height, picture.header.width, 3) for picture in pictures]
        return [tuple(shape) for shape in images.shape()] == wanted


def _build() -> Any:
    from nvidia.dali import Pipeline, fn, types  # here, because it takes a second and only this check needs it

    pipeline = Pipeline(batch_size=_BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)
    with pipeline:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(fn.decoders.image(encoded, device="cpu", output_type=types.RGB))
    pipeline.build()
    return pipeline
