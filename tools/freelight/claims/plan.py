"""A plan for an experiment that needs ImageNet and GPUs: its commands, their cost, and the table that they fill."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freelight.claims.finding import Finding, Row
from freelight.claims.session import Session
from freelight.shards import FreelightError
from freelight.shards.base import MAX_JSON, anything, check, number, parse_json, read_limited, record

BYTES_AN_IMAGE = 33_000
"""Bytes per image of a dataset, 256 x 256 pixels, quality 95: measured on 200 photographs of ImageNet."""
GPUS = 2
"""GPUs per network, with --columns 2."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a plan.

    words: the command as typed. dataset: the dataset that it makes or reads. seed: seed of training. trained: images
    trained on at most, in all epochs. seen: views to evaluate. written: bytes of the dataset that it makes. figures:
    file for the errors that it measures.
    """

    words: tuple[str, ...]
    dataset: Path
    seed: int | None = None
    trained: float = 0
    seen: float = 0
    written: float = 0
    figures: Path | None = None

    @property
    def name(self) -> str:
        """The command's name in records: "make_shards" of `freelight make-shards`, "train" of `train`."""
        return (self.words[0] if self.words[0] == "train" else self.words[1]).replace("-", "_")

    @property
    def line(self) -> str:
        """The command as it is typed."""
        redirect = "" if self.figures is None else f" > {shlex.quote(str(self.figures))}"
        return shlex.join(self.words) + redirect

    def cost(self, images_per_second: float) -> str:
        """Return the cost as text. images_per_second: training speed of one network on its GPUs."""
        if self.written:
            return f"{self.written / 1e9:,.0f} GB of disk"
        # Evaluating a view is a forward pass, a third of the work of training on an image.
        hours = (self.trained + self.seen / 3) / images_per_second / 3600
        if not hours:
            return ""
        what = f"{self.trained:,.0f} images" if self.trained else f"{self.seen:,.0f} views"
        return f"{what}, {hours:,.1f} hours, {GPUS * hours:,.1f} GPU-hours"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A row of the paper's table: errors in %, top-1 / top-5. figures: file that holds ours, written by a step."""

    what: str
    paper: str
    figures: Path


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan. sources: folders that must exist, and what each holds. notes: differences from the paper, and why."""

    claim: str
    sources: dict[Path, str]
    steps: tuple[Step, ...]
    table: tuple[Expected, ...]
    notes: tuple[str, ...]

    def run(self, session: Session) -> None:
        """Run every step in order, except those that have finished.

        A stopped step runs again: training resumes from its last checkpoint, evaluation starts again.
        """
        for source, what in self.sources.items():
            if not source.exists():
                raise FreelightError(f"there is no {source}: put {what} there, or a link to it")
        names = [f"{self.claim}-{number:02d}-{step.name}" for number, step in enumerate(self.steps, 1)]
        session.plan(names)
        for name, step in zip(names, self.steps, strict=True):

            def work(name: str = name, step: Step = step) -> dict[str, Any]:
                session.must_call(["bash", "-c", f"exec {step.line}"], session.out / "logs" / f"{name}.log")
                return {"seed": step.seed, "errors": None if step.figures is None else errors(step.figures)}

            session.part(name, step.words, work, step.dataset)

    def finding(self, images_per_second: float) -> Finding:
        """Return the commands with their costs, and the table with what has been measured."""
        steps, rate = self.steps, images_per_second
        trained, seen = (sum(getattr(step, name) for step in steps) for name in ("trained", "seen"))
        hours = (trained + seen / 3) / rate / 3600
        disk = sum(step.written for step in steps) / 1e9
        measured = {row.what: errors(row.figures) for row in self.table}
        missing = [what for what, found in measured.items() if found is None]
        costs = [(step.line, step.cost(rate)) for step in steps]
        return Finding(
            claim=self.claim,
            rows=tuple(_row(row, measured[row.what]) for row in self.table),
            conditions=(
                *(f"needs {source}: {what}" for source, what in self.sources.items()),
                *self.notes,
                f"at {rate:g} training images/s on {GPUS} GPUs, at most: {trained:,.0f} images trained on, {seen:,.0f} "
                f"views evaluated, {hours:,.0f} hours, {GPUS * hours:,.0f} GPU-hours, {disk:,.0f} GB of disk",
                "",
                *(part for line, cost in costs for part in ((f"# {cost}", line) if cost else (line,))),
            ),
            figures={
                "images": trained,
                "views": seen,
                "hours": hours,
                "gpu_hours": GPUS * hours,
                "disk_gb": disk,
                "errors": measured,
            },
            picture=None,
            verdict=f"not run: {', '.join(missing)}" if missing else "",
        )


def make_dataset(images: Path, dataset: Path, samples: float, *more: str) -> tuple[Step, Step]:
    """Return the steps that make a dataset and its statistics."""
    making = ("freelight", "make-shards", "--images", str(images), "--out", str(dataset), "--workers", "8", *more)
    return (
        Step(words=making, dataset=dataset, written=BYTES_AN_IMAGE * samples),
        Step(words=("freelight", "compute-pca", "--shards", str(dataset), "--workers", "8"), dataset=dataset),
    )


def train(dataset: Path, run: Path, images: float, *more: str, seed: int = 0) -> Step:
    """Return a step that trains a network on two GPUs and can be resumed. images: over all epochs."""
    words = ("train", "--shards", str(dataset), "--out", str(run), "--columns", str(GPUS), "--checkpoint-minutes", "30")
    return Step(
        words=(*words, "--recipe", "paper", "--seed", str(seed), *more), dataset=dataset, seed=seed, trained=images
    )


def evaluate(dataset: Path, figures: Path, images: float, split: str, views: int, *more: str) -> Step:
    """Return a step that measures errors. images: images of the split times networks to evaluate."""
    words = (
        "freelight",
        "evaluate",
        "--json",
        "--shards",
        str(dataset),
        "--split",
        split,
        "--views",
        str(views),
        *more,
    )
    return Step(words=words, dataset=dataset, seen=images * views, figures=figures)


def errors(path: Path) -> tuple[float, float] | None:
    """Return the top-1 and top-5 error, %, in a file that `evaluate --json` wrote: of the average, if there is one.

    None if there is no file, or an empty one: the shell makes it before `evaluate` has finished. Raises
    `FreelightError` for any other content.
    """
    if not path.is_file():
        return None
    remedy = "delete it and run its step again"
    data = read_limited(path, remedy=remedy, limit=MAX_JSON)
    if not data:
        return None
    where = f"{path}, which evaluate --json writes,"
    document = parse_json(data, anything, where=where, remedy=remedy)
    try:
        measured = document["average"] or document["networks"][-1]
        found = {key: measured[key] for key in ("top1", "top5")}
    except (KeyError, IndexError, TypeError) as error:
        raise FreelightError(f"{where} lacks the errors ({error}); {remedy}") from None
    share = number(least=0, most=1)
    check(found, record({"top1": share, "top5": share}), where=where, remedy=remedy)
    return 100 * found["top1"], 100 * found["top5"]


def _row(row: Expected, found: tuple[float, float] | None) -> Row:
    if found is None:
        return Row(what=row.what, paper=row.paper, ours="not run")
    published = [float(number) for number in re.findall(r"[\d.]+", row.paper)]
    differences = [f"{ours - paper:+.1f}" for ours, paper in zip(found, published, strict=False)]
    return Row(
        what=row.what, paper=row.paper, ours=f"{found[0]:.1f} / {found[1]:.1f}", difference=" / ".join(differences)
    )
