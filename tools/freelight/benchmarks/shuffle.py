"""How well the `windowed` order mixes, on shards that are sorted by class: the worst case."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt

from freelight.pipeline import window_shards, windowed_order
from freelight.shards.base import Command, format_table, reports_errors, say_result, with_output

WINDOWS = (0.01, 0.05, 0.10, 0.25)
PERCENTILE = 1


class Quality(NamedTuple):
    """How an order mixes; see `command`."""

    held: int
    burst: float
    distance: float
    classes: float
    least_classes: float
    run: int


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A split whose shards are sorted by class: sample i has the class `i * classes // samples`, shards of one size."""

    samples: int
    shards: int
    classes: int

    @property
    def shard(self) -> npt.NDArray[np.int32]:
        """The shard of each sample."""
        return (np.arange(self.samples, dtype=np.int64) * self.shards // self.samples).astype(np.int32)

    @property
    def label(self) -> npt.NDArray[np.int32]:
        """The class of each sample."""
        return (np.arange(self.samples, dtype=np.int64) * self.classes // self.samples).astype(np.int32)


def blocks_order(shards: npt.NDArray[np.int32], *, seed: int, window: int) -> npt.NDArray[np.int32]:
    """Return an alternative order: the shards of a window are shuffled together, then the next ones."""
    generator = np.random.default_rng(seed)
    place = generator.permutation(int(shards.max()) + 1)[shards]
    order = generator.permutation(np.arange(len(shards), dtype=np.int32))
    return order[np.argsort(place[order] // window, kind="stable")]


def pool_order(shards: npt.NDArray[np.int32], *, seed: int, window: int) -> npt.NDArray[np.int32]:
    """Return an alternative order: draw any sample that is left in the window; an emptied shard's place is taken by
    the next shard.
    """
    generator = np.random.default_rng(seed)
    coming = list(generator.permutation(int(shards.max()) + 1))
    bounds = np.searchsorted(shards, np.arange(len(coming) + 1))
    left = np.bincount(shards).tolist()
    uniform, of = generator.random(len(shards)).tolist(), shards.tolist()
    pool: list[int] = []
    order: list[int] = []
    for shard in [coming.pop() for _ in range(window)]:
        pool += range(bounds[shard], bounds[shard + 1])
    for draw in uniform:
        at = int(draw * len(pool))
        sample, pool[at] = pool[at], pool[-1]
        pool.pop()
        order.append(sample)
        left[of[sample]] -= 1
        if not left[of[sample]] and coming:
            shard = coming.pop()
            pool += range(bounds[shard], bounds[shard + 1])
    return np.array(order, np.int32)


def quality_of(order: npt.NDArray[np.int32], split: Sorted, batch_size: int) -> Quality:
    """Measure an order of a split."""
    shard, label = split.shard[order], split.label[order]
    count = len(order)
    firsts, lasts = np.empty(split.shards, np.int64), np.empty(split.shards, np.int64)
    lasts[shard] = np.arange(count)
    firsts[shard[::-1]] = np.arange(count)[::-1]
    changes = np.bincount(firsts, minlength=count + 1) - np.bincount(lasts + 1, minlength=count + 1)
    entering = np.histogram(firsts[firsts > 0.02 * count], bins=100, range=(0, count))[0]
    by_shard = np.argsort(shard, kind="stable")  # the places in the epoch, shard by shard
    sizes = np.bincount(shard)
    rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    apart = np.abs(by_shard / count - rank / np.repeat(sizes, sizes))
    distance = np.maximum.reduceat(apart, np.cumsum(sizes) - sizes)
    batches = label[: count // batch_size * batch_size].reshape(-1, batch_size)
    ordered = np.sort(batches, axis=1)
    classes = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    edges = np.flatnonzero(np.append(True, label[1:] != label[:-1]))
    return Quality(
        held=int(np.cumsum(changes).max()),
        burst=float(entering.max() / split.shards),
        distance=float(distance.mean()),
        classes=float(classes.mean()),
        least_classes=float(np.percentile(classes, PERCENTILE)),
        run=int(np.diff(np.append(edges, count)).max()),
    )


@click.command(
    name="shuffle",
    cls=Command,
    groups={"What is measured": "samples shard-count class-count batch-size seed", "Result": "quiet json"},
    examples=(
        "freelight benchmark shuffle",
        "freelight benchmark shuffle --samples 100000 --shard-count 100 --class-count 100 --batch-size 128",
    ),
)
@click.option("--samples", type=click.IntRange(1), default=1_281_167, show_default=True, help="Samples of the split.")
@click.option(
    "--shard-count", "shards", type=click.IntRange(1), default=1282, show_default=True, help="Shards of the split."
)
@click.option(
    "--class-count", "classes", type=click.IntRange(1), default=1000, show_default=True, help="Classes of the split."
)
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Samples in a batch.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the orders.")
@with_output
@reports_errors
def command(samples: int, shards: int, classes: int, batch_size: int, seed: int) -> None:
    """Measure how well the windowed order mixes.

    It is compared with a global permutation and two other kinds of window. The shards are sorted by class, which is the
    worst case; those of make_shards have samples of all classes.

    Columns: the most shards held at once. burst: the share of all shards that enter in the busiest hundredth of the
    epoch, after its first fiftieth. distance: the largest distance between the distribution of a shard's samples over
    the epoch and the uniform one (Kolmogorov), mean over shards. classes: different classes in a batch, and the 1st
    percentile (least). run: the longest run of one class.
    """
    split = Sorted(samples=samples, shards=shards, classes=classes)
    rows, measured = [], []
    for name, percent, order in _orders(split, seed):
        found = quality_of(order, split, batch_size)
        measured.append({"order": name, "window": percent, **found._asdict()})
        rows.append(
            (
                name,
                percent,
                str(found.held),
                f"{found.burst:.1%}",
                f"{found.distance:.3f}",
                f"{found.classes:.1f}",
                f"{found.least_classes:.0f}",
                str(found.run),
            )
        )
    header = ("order", "window", "shards held", "burst", "distance", "classes", "least", "run")
    say_result(format_table(header, rows), {"orders": measured})


def _orders(split: Sorted, seed: int) -> Iterator[tuple[str, str, npt.NDArray[np.int32]]]:
    """Yield each order's name and window, and the order."""
    yield "global permutation", "", np.random.default_rng(seed).permutation(np.arange(split.samples, dtype=np.int32))
    for share in WINDOWS:
        window, percent = window_shards(share, split.shards), f"{share:.0%}"
        half = max(1, window // 2)
        yield "sliding (windowed)", percent, windowed_order(split.shard, seed=seed, epoch=0, window=window)
        yield "blocks", percent, blocks_order(split.shard, seed=seed, window=window)
        yield "blocks of half of it", percent, blocks_order(split.shard, seed=seed, window=half)
        yield "pool", percent, pool_order(split.shard, seed=seed, window=window)
