"""Rescaling and shard making compared with plain Pillow, img2dataset and a loop without shards."""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import click
import numpy as np

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.fidelity import exact_rescale, psnr
from freelight.benchmarks.geometries import all_as_train, images_option, limit_option
from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.memory import children, peak_memory_mb
from freelight.benchmarks.peers import find_peer, peers_option
from freelight.benchmarks.process import process_contender
from freelight.benchmarks.report import Floor, Report
from freelight.benchmarks.rescaling_loops import freelight_loop, pillow_loop
from freelight.benchmarks.timing import Contender, Lap, Timings, interleave, one_core, timed
from freelight.shards import FreelightError, Rescaling, ShardSettings, Source, make_shards
from freelight.shards.base import progress
from freelight.shards.images import decode_picture, rescale

LOOP, PILLOW, PEER = "rescale_file loop", "Pillow loop", "img2dataset"
ONE, TWO = "make_shards, 1 worker", "make_shards, 2 workers"


@benchmark(
    "shards",
    examples=(
        "freelight benchmark shards --images imagenet-samples",
        "freelight benchmark shards --images photos --limit 200 --rounds 3",
    ),
)
@images_option
@limit_option
@click.option("--size", default=256, show_default=True, help="Side of the square images, in pixels.")
@click.option("--quality", default=95, show_default=True, help="JPEG quality, 1..100.")
@peers_option
def command(images: Path, limit: int | None, size: int, quality: int, peers: Path, rounds: int) -> Report:
    """Measure rescaling, shard making and fidelity on one set of images.

    Runs these in turn on one core, with the same geometry and JPEG quality: Freelight's rescale_file over the files, a
    plain Pillow loop, img2dataset's resizer in its own environment, and make_shards as a whole. Then runs make_shards
    on two workers and measures their peak memory. Fidelity is the PSNR before JPEG, against a float64 reference that
    scales the whole picture by area (bicubic when it enlarges) and then crops.
    """
    machine = machine_facts(("pillow", "numpy", "scipy", "joblib", "webdataset"))
    rescaling = Rescaling(size=size, quality=quality)
    listed = all_as_train(images, limit)
    source, decibels = _measure_fidelity(listed, size)
    paths = [source.root / image.path for image in source.splits["train"]]
    with _img2dataset(peers, paths, rescaling) as peer:
        two = TwoWorkers(source, rescaling)
        contenders = (
            Contender(name=LOOP, lap=_on_one_core(partial(timed, partial(freelight_loop, paths, rescaling)))),
            Contender(name=PILLOW, lap=_on_one_core(partial(timed, partial(pillow_loop, paths, rescaling)))),
            peer,
            Contender(name=ONE, lap=_on_one_core(partial(_make, source, rescaling, workers=1))),
            Contender(name=TWO, lap=two.lap),
        )
        timings = interleave(contenders, rounds=rounds)
    worst = source.splits["train"][int(np.argmin(decibels))].path
    return Report(
        benchmark="shards",
        item="images",
        settings={"images": images, "limit": limit, "size": size, "quality": quality},
        machine=machine,
        timings=timings,
        floors=(
            *_speed_floors(timings, cores=machine["cores"]),
            Floor(name="peak memory of a worker", value=two.peak_mb, unit="MB", at_most=300),
            Floor(name="PSNR before JPEG, median", value=median(decibels), unit="dB", at_least=50),
            Floor(name="PSNR before JPEG, least", value=min(decibels), unit="dB", at_least=45),
        ),
        notes=(
            f"{len(paths)} images; {len(listed.splits['train']) - len(paths)} left out, because they do not decode",
            f"the least PSNR is that of {worst}",
        ),
    )


# On two idle cores of an EPYC virtual machine, three runs before the checks of hostile input and four after gave
# 1.17-1.22 and 1.14-1.15, 1.76-1.79 and 1.71-1.83, 0.90-0.95 and 0.92-0.93; an earlier machine 1.29, 1.84-1.87, 0.94.
# Two workers lose time because their last shards do not end together, and because the tables follow the shards.
SPEED_FLOORS = ((LOOP, PILLOW, 1.3), (LOOP, PEER, 1.1), (TWO, ONE, 1.7), (ONE, LOOP, 0.9))


def _speed_floors(timings: Timings, *, cores: int) -> Iterator[Floor]:
    for name, base, at_least in SPEED_FLOORS:
        because = "this machine has one core" if name == TWO and cores < 2 else timings.why_absent(name, base)
        yield Floor(
            name=f"{name} / {base}",
            value=None if because else timings.ratio(name, base),
            because=because,
            at_least=at_least,
        )


def _measure_fidelity(source: Source, size: int) -> tuple[Source, list[float]]:
    """Return the source without pictures that fail to decode, and the PSNR of each other picture, in dB."""
    images = source.splits["train"]
    sound, decibels = [], []
    for image in progress(images, length=len(images), label="fidelity"):
        data = source.read(image)
        try:
            pixels = rescale(decode_picture(data), size)
        except FreelightError:
            continue
        sound.append(image)
        decibels.append(psnr(pixels, exact_rescale(data, size)))
    if not sound:
        raise FreelightError(f"`images` {source.root}: none of {len(images)} images can be decoded")
    return replace(source, splits={"train": sound}), decibels


def _on_one_core(lap: Callable[[], Lap]) -> Callable[[], Lap]:
    def pinned() -> Lap:
        with one_core():
            return lap()

    return pinned


def _make(source: Source, rescaling: Rescaling, *, workers: int) -> Lap:
    """Make a dataset in a temporary folder, with the default settings of make_shards; few images in two shards."""
    images, settings = len(source.splits["train"]), ShardSettings(rescaling=rescaling)
    size = settings.resolve(source).samples_per_shard
    if size is not None and images <= size:  # one shard would run without a worker
        settings = replace(settings, samples_per_shard=math.ceil(images / 2))
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        out = Path(folder, "dataset")
        return timed(lambda: make_shards(source, out, settings, workers=workers).splits["train"].samples)


class TwoWorkers:
    """make_shards on two workers, which are kept between laps. peak_mb: peak memory of the larger worker."""

    def __init__(self, source: Source, rescaling: Rescaling) -> None:
        self.source = source
        self.rescaling = rescaling
        self.others = children()
        self.peak_mb = 0.0

    def lap(self) -> Lap:
        """Make the dataset once."""
        lap = _make(self.source, self.rescaling, workers=2)
        self.peak_mb = max([self.peak_mb, *(peak_memory_mb(worker) for worker in children() - self.others)])
        return lap


@contextmanager
def _img2dataset(home: Path, paths: list[Path], rescaling: Rescaling) -> Iterator[Contender]:
    """Start img2dataset's resizer over the same files, on one core, if its environment exists."""
    python = find_peer(PEER, home)
    if python is None:
        yield Contender(name=PEER, absent=f"not installed in {home}; run: freelight benchmark peers {PEER}")
        return
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        listing = Path(folder, "images.txt")
        listing.write_text("\n".join(map(str, paths)), encoding="utf-8", errors="surrogateescape")
        arguments = (str(listing), str(rescaling.size), str(rescaling.quality))
        with process_contender(
            PEER, python, "freelight.benchmarks.img2dataset_resizer", arguments, pinned=True
        ) as contender:
            yield contender
