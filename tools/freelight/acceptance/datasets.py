"""The datasets of the acceptance: drawn pictures, their shards, and longer ones that repeat them."""

import shutil
from pathlib import Path

from freelight.acceptance.session import Session
from freelight.benchmarks.repeated import repeat_samples
from freelight.demo.drawing import draw_pictures
from freelight.shards import Dataset
from freelight.shards.base import usable_cores


def pictures(session: Session) -> Path:
    """Return the drawn pictures: ten classes in `train/` and `val/`."""
    folder, sizes = session.work / "images", session.sizes
    if not folder.exists():
        drawing = folder.with_name("images.unfinished")
        shutil.rmtree(drawing, ignore_errors=True)
        draw_pictures(drawing, train_per_class=sizes.train_per_class, val_per_class=sizes.val_per_class, defects=False)
        drawing.rename(folder)
    return folder


def dataset(session: Session) -> Dataset:
    """Return the dataset to use: the one given, or that of the drawn pictures, with statistics."""
    if session.shards is not None:
        return Dataset(session.shards)
    folder = session.work / "dataset"
    if not (folder / "statistics.npz").exists():
        images, workers = pictures(session), min(usable_cores(), 8)
        words = ("--class-names", images / "class-names.tsv", "--out", folder, "--workers", workers)
        session.freelight("make-shards", "--images", images, *words)
        session.freelight("compute-pca", "--shards", folder)
    return Dataset(folder)


def repeated(session: Session, samples: int) -> Path:
    """Return a dataset whose train split has that many samples, by repetition, and the val split as it is."""
    folder = session.work / f"repeated-{samples}"
    if not (folder / "dataset.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        repeat_samples(dataset(session), "train", samples, folder, keep=("val",))
    return folder


def benchmark_shards(session: Session) -> Path:
    """Return the dataset that benchmarks load."""
    given = dataset(session)
    repeats = session.sizes.repeats
    return given.folder if repeats == 1 else repeated(session, repeats * len(given.split("train")))
