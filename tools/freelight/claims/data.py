"""The dataset that a claim trains on: made from the user's images, or one that exists."""

from pathlib import Path
from typing import Any

from freelight.claims.session import Session, program
from freelight.shards import Dataset, FreelightError


def dataset_of(session: Session, data: Path, *, size: int | None) -> Dataset:
    """Return the dataset of `data`, with images of `size` pixels. Make it in two parts if `data` holds images.

    size None: the images as they are, without statistics, in one part.
    A `test/` folder without a `val/` beside it is used as val, and so is the test batch of CIFAR-10's archives. That is
    sound because no decision depends on its errors. Raises `FreelightError` for a dataset of another size, or if there
    is no `data`.
    """
    if (data / "dataset.json").is_file():
        dataset = Dataset(data)
        if dataset.image_size != size:
            raise FreelightError(f"`data` {data} has images of {dataset.image_size} pixels; this claim needs {size}")
        return dataset
    if not data.exists():
        raise FreelightError(f"`data` {data} does not exist; give images or a dataset")
    folder = session.out / "dataset"
    images = _with_val(data, session.out / "images")
    pixels = ("--geometry", "original") if size is None else ("--size", str(size))
    making = ["--images", str(images), "--out", str(folder), *pixels, "--workers", "2"]
    computing = ["--shards", str(folder), "--workers", "2"]
    for part, words in [("make_shards", making), ("compute_pca", computing)][: 1 if size is None else 2]:
        typed = ["freelight", part.replace("_", "-"), *words]

        def work(part: str = part, typed: list[str] = typed) -> dict[str, Any]:
            session.must_call(program(typed), session.out / f"{part}.log")
            return {}

        session.part(part, typed, work, folder)
    return Dataset(folder)


def _with_val(data: Path, links: Path) -> Path:
    """Return `data`, or, if it has only train/ and test/, a folder that links to them as train/ and val/.

    Raises `FreelightError` if the links exist and point elsewhere.
    """
    if val_name(data) == "val":
        return data
    links.mkdir(exist_ok=True)
    for name, split in (("train", "train"), ("val", "test")):
        link, images = links / name, data / split
        if not link.is_symlink():
            link.symlink_to(images)
        elif link.readlink() != images:
            raise FreelightError(f"`data` {data}: {link} links to {link.readlink()}; give another `out`")
    return links


def val_name(data: Path) -> str:
    """Return the name of the split that is used as val: "test" if `data` has only train/ and test/."""
    present = [(data / split).is_dir() for split in ("train", "val", "test")]
    return "test" if present == [True, False, True] else "val"


def measured_split(data: Path, dataset: Dataset) -> str:
    """Return the source's name of the split on which errors are measured, which `dataset` has as val."""
    return "test" if dataset.manifest.source.get("layout") == "cifar10" else val_name(data)


def describe(dataset: Dataset) -> str:
    """Describe a dataset in one line: images, classes, size, fingerprint."""
    splits = dataset.manifest.splits
    counts = ", ".join(f"{splits[name].samples:,} {name}" for name in ("train", "val") if name in splits)
    pixels = f"{dataset.image_size} pixels" if dataset.image_size else "of many sizes"
    return (
        f"data: {counts} images of {len(dataset.manifest.classes)} classes, {pixels}, "
        f"fingerprint {dataset.fingerprint[:12]}"
    )
