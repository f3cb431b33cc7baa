"""The report of a run: one HTML page with what it was, how it went and what it learned, beside published results."""

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from ...pipeline.pictures import one_of_each_class
from ...shards import Dataset, FreelightError
from ...shards.base import counted
from ..checkpoint import Checkpoint
from ..environment import describe_environment, read_environment
from ..evaluation.passes import ProbabilityPass, split_labels
from ..evaluation.picture_files import PicturePrediction, decode_sample, top_classes
from ..evaluation.processes import Processes, is_reporting
from ..evaluation.rounds import Watch, no_watch
from ..evaluation.scoring import (
    Labels,
    Probabilities,
    RankedLabels,
    rank_labels,
    score,
    score_classes,
    worst_confusions,
)
from ..evaluator import Errors, has_top5
from ..kernel_pictures import labelled_kernel_grids
from ..metrics import RunMetrics, StepMetrics
from ..progress import summary
from ..recipes import RECIPES, Recipe, described_settings, name_with_changes, recipe_rows
from ..run_folder import BEST, LAST, RunFolder
from .charts import class_error_bars, training_curves
from .extraction import Extraction
from .figure4 import draw_predictions, draw_similar
from .gallery import Gallery
from .html_page import page, paragraph, picture, section, table
from .style import Style

PREDICTIONS, QUERIES, NEAREST, CONFUSIONS = 8, 5, 6, 10
"""How many of each the page shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What the report reads of a run. checkpoint: file name of the one that is shown. trained: its content."""

    folder: Path
    checkpoint: str
    trained: Checkpoint
    metrics: RunMetrics

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Read the run in `folder`: its best checkpoint, else its last, and its metrics."""
        path = next((folder / name for name in (BEST, LAST) if (folder / name).exists()), None)
        if path is None:
            raise FreelightError(f"{folder} holds neither {BEST} nor {LAST}; give a folder that train wrote")
        trained = Checkpoint.load(path)
        return cls(folder=folder, checkpoint=path.name, trained=trained, metrics=RunFolder(folder).metrics())


def report(
    run: Path,
    dataset: Dataset | None,
    *,
    features: Path | None = None,
    processes: Processes = Processes(),  # noqa: B008
    watch: Watch = no_watch,
) -> str | None:
    """Return the HTML page of the run in a folder; None in processes of torchrun other than rank 0.

    dataset: adds ten-view errors, predictions and similar images, from its splits `val` and `train`. features: folder
    for their feature vectors; None means RUN/features/step-NUMBER. processes: that predict and extract features.
    watch: as of `extract_features`.
    """
    if dataset is None and not is_reporting():
        return None
    shown = Run.open(run)
    sections = [
        _run_section(shown, dataset),
        section(
            "Curves",
            picture(
                functools.partial(training_curves, shown.metrics, with_top5=has_top5(len(shown.trained.class_ids))),
                "loss, errors and learning rate by epoch",
                chart=True,
            ),
        ),
    ]
    if dataset is None:
        sections += [_errors_section(shown), _kernels_section(shown.trained)]
    else:
        # Named by step: the features of a later checkpoint are others.
        folder = features or run / "features" / f"step-{shown.trained.progress['step']:08d}"
        shown_data = _dataset_sections(shown, dataset, folder, processes, watch)
        if shown_data is None:
            return None
        sections += shown_data
    sections += [
        _speed_section(shown.metrics.steps),
        section("What the recipe does", table(list(recipe_rows(shown.trained.recipe).items()), head=False)),
        _settings_section(shown.trained.recipe),
    ]
    return page(f"Freelight: the run {run}", sections)


def _run_section(run: Run, dataset: Dataset | None) -> tuple[str, str]:
    trained, recipe = run.trained, run.trained.recipe
    parameters = sum(tensor.numel() for tensor in trained.weights.values())
    rows = [
        *((_started(start), start["command"] or "started from Python") for start in trained.history),
        ("recipe", f"{name_with_changes(recipe)}; seed {trained.seed}"),
        ("network", f"{recipe.network.architecture}, {parameters:,} parameters, columns: {recipe.network.columns}"),
        (
            "data",
            f"{counted(len(trained.class_ids), 'class', 'classes')}, images of {trained.image_size} pixels, "
            f"{trained.statistics.images:,} for training; fingerprint {trained.fingerprint[:12]}",
        ),
    ]
    if dataset is not None:
        splits = ", ".join(f"{name} {split.samples:,} images" for name, split in dataset.manifest.splits.items())
        same = dataset.fingerprint == trained.fingerprint
        other = "" if same else f"; fingerprint {dataset.fingerprint[:12]}, NOT THE DATA OF THE RUN"
        rows.append(("shown here", f"{splits}{other}"))
    noted = read_environment(run.folder)
    rows += list((noted or describe_environment()).items())
    paragraphs = [paragraph(f"{summary(run.metrics)}.")]
    if noted is None:
        paragraphs.append(paragraph("The run recorded no machine; the machine and versions below are this report's."))
    return section("The run", *paragraphs, table(rows, head=False))


def _started(start: dict[str, Any]) -> str:
    return "command" if start["step"] == 0 else f"from step {start['step']} on, to {counted(start['epochs'], 'epoch')}"


def _dataset_sections(
    run: Run, dataset: Dataset, features: Path, processes: Processes, watch: Watch
) -> list[tuple[str, str]] | None:
    """Return the sections that need the dataset's images; None if this process does not report."""
    split, trained = dataset.split("val"), run.trained
    if not split.info.labelled:
        raise FreelightError(f"val of {dataset.place} has no labels to measure errors by; omit `shards`")
    with tempfile.TemporaryDirectory() as name:
        extraction = Extraction(
            checkpoint=run.folder / run.checkpoint,
            dataset=dataset,
            folder=features,
            features=[("train", "fc7"), ("val", "fc7")],
            ten_views=Path(name, "val.npz"),
            watch=watch,
        )
        if not extraction.run(processes):
            return None
        predicted = ProbabilityPass.load(Path(name, "val.npz"))
    if not predicted.finite:
        raise FreelightError(
            f"{run.folder / run.checkpoint} gives probabilities that are not finite (NaN); omit `shards`, or name "
            "another run"
        )
    ranked = rank_labels(predicted.probabilities, split_labels(split))
    ten_views = f"{run.checkpoint}, val, ten views", score(ranked).errors
    gallery, queries = (Gallery.open(trained, dataset, name, features) for name in ("train", "val"))
    return [
        _errors_section(run, ten_views),
        _kernels_section(trained),
        _predictions_section(dataset, predicted.probabilities, ranked.labels),
        _similar_section(gallery, queries),
        _classes_section(dataset, ranked),
    ]


def _errors_section(run: Run, ten_views: tuple[str, Errors] | None = None) -> tuple[str, str]:
    """Return the run's errors above those that were published for its recipe."""
    rows: list[tuple[str, float, float | None]] = []
    if run.metrics.best is not None:
        best = run.metrics.best
        rows.append((f"this run: epoch {best.epoch + 1}, val, centre view", best.val_top1, best.val_top5))
    if ten_views is not None:
        name, errors = ten_views
        rows.append((f"this run: {name}", errors.top1, errors.top5))
    own = len(rows)
    rows += [
        (f"{published.source}: {published.measured}", published.top1, published.top5)
        for published in run.trained.recipe.header.published
    ]
    if not has_top5(len(run.trained.class_ids)):
        rows[:own] = [(name, top1, None) for name, top1, _ in rows[:own]]
    cells = [(name, f"{100 * top1:.1f}", "" if top5 is None else f"{100 * top5:.1f}") for name, top1, top5 in rows]
    return section(
        "Errors beside published ones",
        paragraph("Compare errors only with errors on the same data: other images and classes are easier or harder."),
        table([("error (%)", "top-1", "top-5"), *cells], numbers=2, bold=range(1, own + 1)),
    )


def _kernels_section(trained: Checkpoint) -> tuple[str, str]:
    kernels, columns = trained.weights["conv1.weight"], trained.recipe.network.columns
    return section(
        "The first layer's kernels",
        paragraph(
            "As in the paper's Figure 3, where one column's kernels are mostly grey and the other's mostly coloured. A "
            "kernel's colour is what remains after subtracting its mean over red, green and blue. In noise, colour is "
            "two thirds of the energy."
        ),
        picture(
            lambda style: labelled_kernel_grids(kernels, columns=columns, pixels=style.pixels, text=style.text),
            "first-layer kernels, by column",
        ),
    )


def _predictions_section(dataset: Dataset, probabilities: Probabilities, labels: Labels) -> tuple[str, str]:
    classes = [(info.id, info.name) for info in dataset.manifest.classes]
    split = dataset.split("val")
    predictions = [
        PicturePrediction(
            source=split.sources[sample],
            pixels=decode_sample(split.read(sample)),
            top_classes=top_classes(classes, torch.from_numpy(probabilities[sample])),
            true_class=classes[int(labels[sample])][0],
        )
        for sample in one_of_each_class(labels, PREDICTIONS)
    ]
    return section(
        "Predictions",
        paragraph(
            "Images of val and their most probable classes. The correct class has a red bar. The images were chosen by "
            "class, not by error."
        ),
        picture(functools.partial(draw_predictions, predictions, dict(classes)), "predictions", photographs=True),
    )


def _similar_section(gallery: Gallery, queries: Gallery) -> tuple[str, str]:
    found = gallery.find_similar(queries.examples(QUERIES), min(NEAREST, len(gallery.vectors)))
    return section(
        "Similar images",
        paragraph("Images of val, and the training images nearest to them in the last hidden layer (Figure 4, right)."),
        picture(functools.partial(draw_similar, found), "nearest training images", photographs=True),
    )


def _classes_section(dataset: Dataset, ranked: RankedLabels) -> tuple[str, str]:
    names = [info.name for info in dataset.manifest.classes]
    scores = score_classes(ranked)
    rows = [("class", "taken for", "images", "of")]
    for pair in worst_confusions(ranked, CONFUSIONS):
        rows.append((names[pair.label], names[pair.predicted], str(pair.count), str(pair.images)))

    def draw(style: Style) -> Image.Image:
        return class_error_bars(scores, names, style)

    return section(
        "Error by class",
        paragraph("On val, ten views."),
        picture(draw, "top-1 error of each class", chart=True),
        table(rows, numbers=2) if len(rows) > 1 else paragraph("No image was taken for another class."),
    )


def _settings_section(recipe: Recipe) -> tuple[str, str]:
    """Return every setting by its key; in bold those that differ from the published recipe."""
    settings = described_settings(recipe)
    changed = recipe.differences(RECIPES.get(recipe.name, RECIPES["paper"]))
    rows = [("key", "value", "meaning"), *((key, value, meaning) for key, (value, _, meaning) in settings.items())]
    return section(
        "All settings",
        paragraph(f"{name_with_changes(recipe)}. Bold: what differs. train --set KEY=VALUE changes a setting."),
        table(rows, bold=[place for place, key in enumerate(settings, 1) if key in changed]),
    )


def _speed_section(steps: Sequence[StepMetrics]) -> tuple[str, str]:
    if not steps:
        return section("Speed", paragraph("No measurements."))
    rows: list[tuple[str, ...]] = [("measured during training", "median", "least", "most")]
    measures: tuple[tuple[str, Callable[[StepMetrics], float], str], ...] = (
        ("images/s", lambda line: line.images_per_second, "{:.0f}"),
        ("images/s without waiting for data", lambda line: line.images_per_second_without_wait, "{:.0f}"),
        ("share of the time spent waiting for data", lambda line: line.wait_share, "{:.1%}"),
    )
    for name, measure, form in measures:
        values = [measure(line) for line in steps]
        rows.append((name, *(form.format(value) for value in (median(values), min(values), max(values)))))
    return section(
        "Speed and the wait for data",
        paragraph(f"From {counted(len(steps), 'measurement')}. The paper's two GTX 580 reached about 240 images/s."),
        table(rows, numbers=3),
    )
