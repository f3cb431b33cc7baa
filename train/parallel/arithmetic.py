"""How a process computes on a GPU, as torch keeps it: for the whole process, but not for those that it starts."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def arithmetic(*, tf32: bool = False) -> Iterator[None]:
    """Compute with deterministic kernels of cuDNN, so that a resumed run gets the same bits; restore torch's settings.

    tf32: whether float32 convolutions and matrix products may round their inputs to TensorFloat-32 (11 significant
    bits), or compute with all 24. Torch's own default allows it in convolutions alone. The CPU has no TensorFloat-32.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    # The newer `fp32_precision` can always be read. Once it is set, torch's own readers of `allow_tf32` raise errors.
    before = cudnn.deterministic, cudnn.conv.fp32_precision == "tf32", matmul.fp32_precision == "tf32"  # type: ignore[attr-defined]
    cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = True, tf32, tf32
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
