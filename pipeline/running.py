"""Run a DALI pipeline batch by batch, name the sample that it could not decode, and reset it after an epoch."""

import re
from typing import Any

from nvidia.dali import Pipeline

from ..shards import FreelightError
from .reading import SampleReader, Share


def run(pipeline: Pipeline, samples: Share, reader: SampleReader, *streams: Any) -> Any:
    """Return the output of the next batch, of these occurrences of samples.

    streams: the CUDA stream, for a pipeline on a GPU. Raises `UndecodableError` for a sample that does not decode;
    after an error the pipeline cannot be used again.
    """
    try:
        (output,) = pipeline.run(*streams)
        return output
    except RuntimeError as error:
        reader.prove_decodable(samples, error)
        if not re.search(r"operator `[\w.]*decoders\.", str(error)):
            raise
        tried = reader.samples_of(samples)
        raise FreelightError(
            f"DALI decodes not all of the samples from {reader.split.describe(tried[0])} to "
            f"{reader.split.describe(tried[-1])}, though Pillow does; make the dataset again"
        ) from error


def end_epoch(pipeline: Pipeline) -> None:
    """Tell DALI that the epoch has ended, so that the next one can start."""
    try:
        pipeline.run()
    except StopIteration:
        pipeline.reset()
