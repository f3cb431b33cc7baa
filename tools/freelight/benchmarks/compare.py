"""Preparing, loading, starting and resuming, compared with other software on the same images."""

import ctypes.util
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click

from freelight.benchmarks.command import benchmark
from freelight.benchmarks.geometries import GEOMETRIES, all_as_train, images_option, limit_option
from freelight.benchmarks.machine import DALI_WHEEL, machine_facts
from freelight.benchmarks.peers import find_peer, peers_option
from freelight.benchmarks.process import process_contender, run_module
from freelight.benchmarks.report import Figure, Report
from freelight.benchmarks.sides.run import folder_bytes
from freelight.benchmarks.sides.settings import CROPS, OUTPUTS, QUALITY, SIZE, WORKERS
from freelight.benchmarks.timing import Contender, Timings, interleave, timed
from freelight.shards import Rescaling, ShardSettings, Source, make_shards
from freelight.shards.base import progress, say

RUN = "freelight.benchmarks.sides.run"
KINDS = {"square": "square 256", "whole": "original"}
"""The geometry of each kind of dataset."""
HEADS = {"uint8": "uint8", "float32": "float32", "rand": "RandAugment"}


@dataclass(frozen=True, kw_only=True)
class Software:
    """name: as in the table. side: its module in `sides`. environment: of `benchmark peers`; None is ours.

    outputs: those of `OUTPUTS` that its loader gives; none if it has no loader. streams: it reads from object stores.
    library: that it needs besides.
    """

    name: str
    side: str
    environment: str | None = None
    prepares: bool = True
    outputs: tuple[str, ...] = OUTPUTS
    converts: bool = True
    resumes: bool = False
    streams: bool = False
    library: str | None = None

    def python(self, home: Path) -> Path | None:
        """Return the Python that runs it; None if its environment is not made."""
        return Path(sys.executable) if self.environment is None else find_peer(self.environment, home)

    def why_absent(self, home: Path) -> str | None:
        """Return why it cannot run here; None if it can."""
        if self.python(home) is None:
            return f"not installed in {home}; run: freelight benchmark peers {self.environment}"
        if self.library and not ctypes.util.find_library(self.library):
            return f"the library {self.library} is missing; on Debian run: apt-get install ffmpeg"
        return None


OURS = Software(name="Freelight", side="ours", converts=False, resumes=True, streams=True)
ALL = (
    OURS,
    Software(name="FFCV", side="ffcv", environment="ffcv", outputs=("uint8", "float32")),
    Software(
        name="webdataset + torchvision",
        side="webdataset",
        environment="torchvision",
        prepares=False,
        converts=False,
        streams=True,
    ),
    Software(name="LitData + torchvision", side="litdata", environment="streaming", resumes=True, streams=True),
    Software(
        name="MosaicML Streaming + torchvision", side="mosaicml", environment="streaming", resumes=True, streams=True
    ),
    Software(name="SPDL + torchvision", side="spdl", environment="streaming", prepares=False, library="avdevice"),
    Software(name="img2dataset", side="img2dataset", environment="img2dataset", outputs=()),
)


@benchmark(
    "compare",
    examples=(
        "freelight benchmark compare --images PHOTOS --record compare.json",
        "freelight benchmark compare --images PHOTOS --limit 200 --rounds 1",
    ),
)
@images_option
@limit_option
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Images per batch.")
@peers_option
def command(images: Path, limit: int | None, batch_size: int, peers: Path, rounds: int) -> Report:
    """Compare preparing, loading and resuming with other software on the same images.

    Each has two threads or worker processes, and its own format. Preparing makes squares of 256 pixels as JPEGs of
    quality 95: make_shards, img2dataset, and the writers of FFCV, LitData and MosaicML Streaming, which get Pillow's
    squares. Loading reads the same JPEGs, squares and the whole files, and returns flipped crops of 224 pixels as torch
    tensors: uint8; float32 with means and std; and these after RandAugment. A crop is at a random place of a square, or
    a random resized crop of a whole picture. Then, on squares: the time from the start of a process to its first batch,
    the memory of all its processes, and resuming in the middle of an epoch in a new process: the time to its first
    batch, and whether the same samples and the same pixels follow as without the stop.
    """
    listed = all_as_train(images, limit)
    machine = machine_facts((DALI_WHEEL, "torch", "numpy", "pillow"))
    with tempfile.TemporaryDirectory(prefix="freelight-benchmark-") as folder:
        comparison = Comparison(listed, Path(folder), batch_size, rounds, peers)
        timings = [comparison.prepare()]
        for kind in KINDS:
            comparison.make(kind)
            timings += [comparison.load(kind, output) for output in OUTPUTS]
        comparison.start()
        comparison.resume()
    joined = Timings.joined(timings)
    return Report(
        benchmark="compare",
        item="images",
        settings={"images": images, "limit": limit, "batch size": batch_size, "threads": WORKERS},
        machine=machine,
        timings=joined,
        floors=(),
        figures=tuple(comparison.figures.values()),
        tables=(_table(joined, comparison.figures),),
    )


class Comparison:
    """The parts of one comparison. figures: what is no rate, by name."""

    def __init__(self, source: Source, folder: Path, batch_size: int, rounds: int, home: Path) -> None:
        self.source, self.folder, self.batch_size, self.rounds, self.home = source, folder, batch_size, rounds, home
        self.figures: dict[str, Figure] = {}
        self.loading = [one for one in ALL if one.outputs]

    def prepare(self) -> Timings:
        """Time the writers, and note the bytes of a sample."""
        images = self.source.splits["train"]
        listing = self.folder / "files.json"
        listing.write_text(json.dumps([(str(self.source.root / image.path), image.label) for image in images]))
        writers = [one for one in ALL if one.prepares]
        contenders = [Contender(name=_name("prepare", OURS), lap=partial(timed, self._make_shards))]
        with ExitStack() as stack:
            for one in writers[1:]:
                words = ("prepare", listing, self.folder / f"{one.side}.prepared")
                contenders.append(side_contender(stack, _name("prepare", one), one, self.home, *words))
            timings = interleave(contenders, rounds=self.rounds)
        for one in writers:
            if not timings.why_absent(_name("prepare", one)):
                size = folder_bytes(self.folder / f"{one.side}.prepared") / len(images)
                self._note("bytes a sample", one, size, "bytes")
        return timings

    def _make_shards(self) -> int:
        return _make(self.source, self.folder / "ours.prepared", Rescaling(size=SIZE, quality=QUALITY))

    def make(self, kind: str) -> None:
        """Make a dataset of a kind, and bring it into the format of each software."""
        dataset = self.folder / kind
        _make(self.source, dataset, GEOMETRIES[KINDS[kind]].rescaling)
        for one in self.loading:
            if one.converts and not one.why_absent(self.home):
                say(f"{one.name}: converting the {kind} dataset", err=True)
                run_side(one, self.home, "convert", dataset, self._data(one, kind))

    def load(self, kind: str, output: str) -> Timings:
        """Time an epoch of each loader."""
        with ExitStack() as stack:
            contenders = []
            for one in self.loading:
                if output in one.outputs:
                    words = ("load", *self._words(one, kind, output))
                    name = _name(f"{kind}, {output}", one)
                    contenders.append(side_contender(stack, name, one, self.home, *words))
            return interleave(contenders, rounds=self.rounds)

    def start(self) -> None:
        """Note the time to the first batch, and the memory."""
        found: dict[str, list[dict[str, float]]] = {one.name: [] for one in self.loading}
        laps = [one for _ in range(self.rounds) for one in self.loading if not one.why_absent(self.home)]
        for one in progress(laps, length=len(laps), label="starts"):
            found[one.name].append(run_side(one, self.home, "start", *self._words(one, "square", "float32")))
        for one in self.loading:
            if found[one.name]:
                self._note("first batch", one, median(lap["seconds"] for lap in found[one.name]), "s")
                self._note("memory", one, median(lap["memory_mb"] for lap in found[one.name]), "MB")

    def resume(self) -> None:
        """Note how long resuming takes, and the share of the later batches that are the same."""
        batches = len(self.source.splits["train"]) // self.batch_size // 2
        for one in self.loading:
            if one.resumes and not one.why_absent(self.home):
                words = (*self._words(one, "square", "uint8"), self.folder / f"{one.side}.state")
                stopped = run_side(one, self.home, "stop", *words, batches)
                resumed = run_side(one, self.home, "resume", *words)
                self._note("resume", one, resumed["seconds"], "s")
                for place, what in enumerate(("same samples", "same pixels")):
                    expected, got = ([batch[place] for batch in rest] for rest in (stopped, resumed["rest"]))
                    same = sum(map(str.__eq__, expected, got)) if len(expected) == len(got) else 0
                    self._note(what, one, 100 * same / len(expected), "%")

    def _words(self, one: Software, kind: str, output: str) -> tuple[object, ...]:
        return self._data(one, kind), CROPS[kind], self.batch_size, output

    def _data(self, one: Software, kind: str) -> Path:
        return self.folder / (f"{kind}.{one.side}" if one.converts else kind)

    def _note(self, what: str, one: Software, value: float, unit: str) -> None:
        self.figures[_name(what, one)] = Figure(name=_name(what, one), value=value, unit=unit)


def side_contender(stack: ExitStack, name: str, one: Software, home: Path, *words: object) -> Contender:
    """Start a side for a task in rounds; `stack` ends it."""
    python, absent = one.python(home), one.why_absent(home)
    if python is None or absent:
        return Contender(name=name, absent=absent)
    return stack.enter_context(process_contender(name, python, RUN, (one.side, *map(str, words))))


def run_side(one: Software, home: Path, *words: object) -> Any:
    """Run one task of a side, and return what it prints."""
    python = one.python(home)
    assert python is not None  # who calls asked why_absent
    return run_module(RUN, one.side, *words, python=python)


def _name(what: str, one: Software) -> str:
    return f"{what}: {one.name}"


def _make(source: Source, out: Path, rescaling: Rescaling) -> int:
    """Make a dataset anew with make_shards, and return its number of samples."""
    shutil.rmtree(out, ignore_errors=True)
    settings = ShardSettings(rescaling=rescaling)
    return make_shards(source, out, settings, workers=WORKERS).splits["train"].samples


def _table(timings: Timings, figures: Mapping[str, Figure]) -> str:
    """Return the results as a table of Markdown, a row a software."""
    rates = [
        ("prepare", "prepare"),
        *((f"{kind}, {output}", f"{kind}: {HEADS[output]}") for kind in KINDS for output in OUTPUTS),
    ]
    others = ("bytes a sample", "first batch", "memory", "resume", "same samples", "same pixels")

    def cells(one: Software) -> Iterator[str]:
        yield one.name
        for what, _ in rates:
            rate = timings.rate(_name(what, one)) if _name(what, one) in timings.laps else None
            yield "-" if rate is None else f"{rate:,.0f}"
        for what in others:
            figure = figures.get(_name(what, one))
            yield (
                "-" if figure is None or figure.value is None else f"{figure.value:,.{1 if figure.unit == 's' else 0}f}"
            )

    heads = ("software", *(head for _, head in rates), "bytes a sample", "first batch, s", "memory, MB", "resume, s")
    heads += ("same samples, %", "same pixels, %")
    rows = [heads, ("---",) * len(heads), *(tuple(cells(one)) for one in ALL)]
    return "\n".join(["Images/s, unless the unit is given:", "", *(f"| {' | '.join(row)} |" for row in rows)])
