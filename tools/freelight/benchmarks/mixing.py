"""What mixing a batch costs: blending against one `torch.lerp`, and the image that each of two ranks decodes twice."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import torch

from freelight.benchmarks.device import threads_for, timed_on
from freelight.benchmarks.loading import loader_contender
from freelight.benchmarks.timing import Contender, Timings, interleave
from freelight.pipeline import Blend, Loader, Mix, Transform, blend_with_previous
from freelight.shards import Dataset

GROUP = "mix: "
LERP, LERP_OUT = "torch.lerp", "torch.lerp with out="
MIXUP, CUTMIX = "Mixup", "CutMix of half the area"
SHARE, MIXED_SHARE = "one of two ranks", "one of two ranks, mixed"
SIDE = 224
TIMES = 10
"""Batches per round."""


def measure_mixing(
    dataset: Dataset, transform: Transform, batch_size: int, device: torch.device, rounds: int
) -> Timings:
    """Time blending of float32 batches of 224 pixels, then an epoch of rank 0 of two, without and with Mixup."""
    blending = interleave(list(_blending(batch_size, device)), rounds=rounds)
    with ExitStack() as stack:
        shares = [
            loader_contender(
                f"{GROUP}{name}",
                stack.enter_context(
                    Loader(
                        dataset,
                        "train",
                        batch_size=batch_size,
                        transform=transform,
                        mix=mix,
                        rank=0,
                        world_size=2,
                        device=device,
                        num_threads=threads_for(device),
                    )
                ),
                1,
            )
            for name, mix in ((SHARE, None), (MIXED_SHARE, Mix(mixup_alpha=0.2)))
        ]
        return Timings.joined([blending, interleave(shares, rounds=rounds)])


def _blending(batch_size: int, device: torch.device) -> Iterator[Contender]:
    images, others, out = (torch.randn(batch_size, 3, SIDE, SIDE, device=device) for _ in range(3))
    half = int(SIDE * 0.5**0.5)
    boxed = Blend(1 - half**2 / SIDE**2, (10, 20, 10 + half, 20 + half))
    works: dict[str, Callable[[], object]] = {
        LERP: partial(torch.lerp, images, others, 0.3),
        LERP_OUT: partial(torch.lerp, images, others, 0.3, out=out),
        MIXUP: partial(blend_with_previous, images, Blend(0.7), first=0, alone=(), height_axis=-2),
        CUTMIX: partial(blend_with_previous, images, boxed, first=0, alone=(), height_axis=-2),
    }
    for name, work in works.items():
        lap = partial(timed_on, device, partial(_repeat, work, batch_size), batch_size=batch_size)
        yield Contender(name=f"{GROUP}{name}", lap=lap)


def _repeat(work: Callable[[], object], batch_size: int) -> int:
    for _ in range(TIMES):
        work()
    return TIMES * batch_size
