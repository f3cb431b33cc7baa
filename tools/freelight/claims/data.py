"""The dataset that a claim trains on: the user's images through `make_shards` and `compute_pca`, or one made before."""

import sys
from pathlib import Path
from typing import Any

from freelight.benchmarks.machine import ROOT
from freelight.claims.session import Session
from freelight.shards import Dataset, FreelightError


def dataset_of(session: Session, data: Path, *, size: int) -> Dataset:
    """Return the dataset of `data` with images of side `size`; made as two parts, unless it is one already.

    A `test/` folder without `val/` beside it, as CIFAR-10 has, is taken as val: its errors decide nothing.
    """
    if (data / "dataset.json").is_file():
        dataset = Dataset(data)
        if dataset.image_size != size:
            raise FreelightError(f"--data {data} has images of {dataset.image_size} pixels; this claim takes {size}")
        return dataset
    if not data.exists():
        raise FreelightError(f"--data {data}: there is nothing of that name; give a folder of images, or a dataset")
    folder = session.out / "dataset"
    images = _with_val(data, session.out / "images")
    making = ["--images", str(images), "--out", str(folder), "--size", str(size), "--workers", "2"]
    for tool, words in (("make_shards", making), ("compute_pca", ["--shards", str(folder), "--workers", "2"])):
        program = ROOT / "tools" / tool

        def work(program: Path = program, words: list[str] = words) -> dict[str, Any]:
            session.must_call([sys.executable, str(program), *words], session.out / f"{program.name}.log")
            return {}

        session.part(tool, [f"tools/{tool}", *words], work, folder)
    return Dataset(folder)


def _with_val(data: Path, links: Path) -> Path:
    """Return `data`; where it has train/ and test/ alone, a folder of links to them as train/ and val/.

    Raises `FreelightError` if the links there are to others.
    """
    if val_name(data) == "val":
        return data
    links.mkdir(exist_ok=True)
    for name, split in (("train", "train"), ("val", "test")):
        link, images = links / name, data / split
        if not link.is_symlink():
            link.symlink_to(images)
        elif link.readlink() != images:
            raise FreelightError(f"--data {data}: {link} is a link to {link.readlink()}; give another --out")
    return links


def val_name(data: Path) -> str:
    """Return which split of `data` val is: "test" where it has train/ and test/ alone."""
    present = [(data / split).is_dir() for split in ("train", "val", "test")]
    return "test" if present == [True, False, True] else "val"


def describe(dataset: Dataset) -> str:
    """Say what a dataset is, in a line of conditions."""
    splits = dataset.manifest.splits
    counts = ", ".join(f"{splits[name].samples:,} {name}" for name in ("train", "val") if name in splits)
    return (
        f"data: {counts} images of {len(dataset.manifest.classes)} classes, {dataset.image_size} pixels, "
        f"fingerprint {dataset.fingerprint[:12]}"
    )
