"""One page that shows a run: what it was, how it went, what it learned, beside the paper's figures."""

import functools
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ...shards import Dataset, FreelightError
from ..checkpoint import Checkpoint
from ..environment import describe_environment, read_environment
from ..evaluation.passes import predict_split, split_labels
from ..evaluation.picture_files import PicturePrediction, decode_sample, top_classes
from ..evaluation.scoring import (
    Labels,
    Probabilities,
    RankedLabels,
    rank_labels,
    score,
    score_classes,
    worst_confusions,
)
from ..evaluator import Errors, default_device
from ..kernel_pictures import labelled_kernel_grids
from ..progress import summary
from ..recipes import name_with_changes, recipe_rows
from ..run_folder import BEST, LAST, RunFolder
from .charts import class_errors, curves
from .features import Watch, no_watch
from .page import page, paragraph, picture, section, table
from .panels import Style, neighbour_panel, prediction_panel
from .similarity import Gallery, find_alike, spread_rows

PAPER = (
    ("paper: one network, ILSVRC-2010 test, centre view", 0.390, 0.183),
    ("paper: one network, ILSVRC-2010 test, ten views", 0.375, 0.170),
    ("paper: one network, ILSVRC-2012 val, ten views", 0.407, 0.182),
    ("paper: five networks averaged, ILSVRC-2012 val, ten views", 0.381, 0.164),
)
"""Top-1 and top-5 error, 0..1."""

SHOWN, QUERIES, NEAREST = 8, 5, 6


def report(run: Path, dataset: Dataset | None, *, features: Path | None = None, watch: Watch = no_watch) -> str:
    """Return the page of the run in a folder, as HTML.

    dataset: with it come ten-view errors, predictions and neighbours, of `val` and `train`. features:
    folder for the vectors of those; by default RUN/features/step-NUMBER.
    """
    best = next((run / name for name in (BEST, LAST) if (run / name).exists()), None)
    if best is None:
        raise FreelightError(f"{run} holds no run (neither {BEST} nor {LAST}); name the --out of train")
    trained = Checkpoint.load(best)
    metrics = RunFolder(run, keep=1).read()
    sections = [
        _what(run, trained, metrics, dataset),
        section("Curves", picture(functools.partial(curves, metrics), "loss, errors and learning rate by epoch")),
    ]
    if dataset is None:
        sections += [_errors(metrics), _kernels(trained)]
    else:
        # A later report may be of a later checkpoint, whose features are others.
        folder = features or run / "features" / f"step-{trained.progress['step']:08d}"
        sections += _of_data(trained, best.name, metrics, dataset, folder, watch)
    sections += [_speed(metrics), _settings(trained)]
    return page(f"Freelight: the run {run}", sections)


def _what(run: Path, trained: Checkpoint, metrics: Sequence[dict[str, Any]], dataset: Dataset | None) -> str:
    recipe = trained.recipe
    parameters = sum(tensor.numel() for tensor in trained.weights.values())
    rows = [
        ("recipe", f"{name_with_changes(recipe)}; seed {trained.seed}"),
        ("network", f"{recipe.network.architecture}, {parameters:,} parameters, columns: {recipe.network.columns}"),
        (
            "data",
            f"{len(trained.class_ids)} classes, images of {trained.image_size} pixels, {trained.statistics.images:,} "
            f"for training; fingerprint {trained.fingerprint[:12]}",
        ),
    ]
    if dataset is not None:
        splits = ", ".join(f"{name} {split.samples:,} images" for name, split in dataset.manifest.splits.items())
        other = "" if dataset.fingerprint == trained.fingerprint else f"; fingerprint {dataset.fingerprint[:12]}"
        rows.append(("shown here", f"{splits}{other}{', NOT THE DATA OF THE RUN' if other else ''}"))
    noted = read_environment(run)
    rows += list((noted or describe_environment()).items())
    said = [paragraph(f"{summary(RunFolder(run).metrics())}.")]
    if noted is None:
        said.append(paragraph("The run has no note of its machine: what is said of it below is of this report's."))
    return section("The run", *said, table(rows, head=False))


def _of_data(
    trained: Checkpoint,
    checkpoint: str,
    metrics: Sequence[dict[str, Any]],
    dataset: Dataset,
    features: Path,
    watch: Watch,
) -> list[str]:
    """Return the sections that look at the dataset's pictures, through the checkpoint of that name."""
    device = default_device()
    split = dataset.split("val")
    if not split.info.labelled:
        raise FreelightError(f"val of {dataset.folder} has no labels, which the report counts by; leave --shards out")
    labels = split_labels(split)
    found = predict_split(trained, dataset, "val", views=10, device=device)
    assert found is not None
    ranked = rank_labels(found.probabilities, labels)
    ten_views = f"{checkpoint}, val, ten views", score(ranked).errors
    gallery, queries = (Gallery.open(trained, dataset, name, features, watch=watch) for name in ("train", "val"))
    return [
        _errors(metrics, ten_views),
        _kernels(trained),
        _predictions(dataset, found.probabilities, labels),
        _neighbours(gallery, queries),
        _classes(dataset, ranked),
    ]


def _errors(metrics: Sequence[dict[str, Any]], ten_views: tuple[str, Errors] | None = None) -> str:
    own = []
    epochs = [line for line in metrics if "val_top1" in line]
    if epochs:
        best = min(epochs, key=lambda line: line["val_top1"])
        own.append((f"this run's epoch {best['epoch'] + 1}, val, centre view", best["val_top1"], best["val_top5"]))
    if ten_views is not None:
        name, errors = ten_views
        own.append((f"this run's {name}", errors.top1, errors.top5))
    rows = [("error (%)", "top-1", "top-5")]
    rows += [(name, f"{100 * top1:.1f}", f"{100 * top5:.1f}") for name, top1, top5 in (*own, *PAPER)]
    return section(
        "Errors beside the paper's",
        paragraph("The paper's are of 1,000 classes of ImageNet; other data and classes are easier or harder."),
        table(rows, numbers=2, own=range(1, len(own) + 1)),
    )


def _kernels(trained: Checkpoint) -> str:
    kernels, columns = trained.weights["conv1.weight"], trained.recipe.network.columns
    return section(
        "The first layer's kernels",
        paragraph(
            "As the paper's Figure 3; there one column's kernels came out largely without colour and the other's with "
            "it. Colour is what is left of a kernel once the mean of red, green and blue is taken off; of noise it is "
            "two thirds of the energy."
        ),
        picture(
            lambda style: labelled_kernel_grids(kernels, columns=columns, pixels=style.width, text=style.text),
            "first-layer kernels, by column",
        ),
    )


def _predictions(dataset: Dataset, probabilities: Probabilities, labels: Labels) -> str:
    classes = [(info.id, info.name) for info in dataset.manifest.classes]
    split = dataset.split("val")
    shown = [
        PicturePrediction(
            source=split.sources[row],
            pixels=decode_sample(split.read(row)),
            top_classes=top_classes(classes, torch.from_numpy(probabilities[row])),
            true_class=classes[int(labels[row])][0],
        )
        for row in spread_rows(labels, SHOWN)
    ]
    return section(
        "Predictions",
        paragraph("Images of val, not chosen by their errors, and their most probable classes; the right one is red."),
        picture(functools.partial(prediction_panel, shown, dict(classes)), "predictions", photographs=True),
    )


def _neighbours(gallery: Gallery, queries: Gallery) -> str:
    alike = find_alike(gallery, *queries.examples(QUERIES), min(NEAREST, len(gallery.vectors)))
    return section(
        "Neighbours",
        paragraph("Images of val, and the training images nearest to them in the last hidden layer (Figure 4 right)."),
        picture(
            functools.partial(neighbour_panel, [(one.query, one.nearest) for one in alike]),
            "nearest training images",
            photographs=True,
        ),
    )


def _classes(dataset: Dataset, ranked: RankedLabels) -> str:
    names = [info.name for info in dataset.manifest.classes]
    scores = score_classes(ranked)
    confusions = [("class", "taken for", "images", "of")]
    confusions += [
        (names[pair.label], names[pair.predicted], str(pair.count), str(pair.images))
        for pair in worst_confusions(ranked, 10)
    ]

    def draw(style: Style) -> Any:
        return class_errors(scores, names, style)

    return section(
        "Error by class",
        paragraph("Of val, ten views."),
        picture(draw, "top-1 error of each class"),
        table(confusions, numbers=2) if len(confusions) > 1 else paragraph("No image is taken for another class."),
    )


def _speed(metrics: Sequence[dict[str, Any]]) -> str:
    steps = [line for line in metrics if "images_per_second" in line]
    if not steps:
        return section("Speed", paragraph("Nothing was measured."))
    rows: list[tuple[str, ...]] = [("of the training's measurements", "median", "least", "most")]
    for name, key, form in (
        ("images/s", "images_per_second", "{:.0f}"),
        ("images/s without the wait for data", "images_per_second_without_wait", "{:.0f}"),
        ("wait for data, share of the time", "wait_share", "{:.1%}"),
    ):
        values = [line[key] for line in steps]
        rows.append((name, *(form.format(value) for value in (median(values), min(values), max(values)))))
    return section(
        "Speed and the wait for data",
        paragraph(f"From {len(steps)} measurements; the paper's two GTX 580 took about 240 images/s."),
        table(rows, numbers=3),
    )


def _settings(trained: Checkpoint) -> str:
    return section("All settings", table(list(recipe_rows(trained.recipe).items()), head=False))
