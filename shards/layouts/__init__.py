"""The layouts of the copies of ImageNet that people have. Each is recognised by its files."""

import gc
from dataclasses import replace
from pathlib import Path

from ..base import FreelightError
from ..sources import Labelling, OrderedSource, Source, label_images
from .archives import is_archive
from .cifar10 import Cifar10
from .class_tars import ClassTars
from .devkit import DEVKITS, Devkit, read_devkit
from .fall2011 import Fall2011
from .folders import SPLIT_OF, Folders, unused_splits
from .huggingface import HuggingFace
from .ilsvrc2010 import Ilsvrc2010
from .ilsvrc2012 import Ilsvrc2012
from .kaggle import Kaggle
from .layout import Layout
from .parquet import Parquet
from .sample_classes import CLASS_LISTS, Listed, read_class_list
from .tiny_imagenet import TinyImageNet
from .webdataset import WebDataset
from .winter2021 import Winter2021

__all__ = [
    "CLASS_LISTS",
    "DEVKITS",
    "LAYOUTS",
    "SPLIT_OF",
    "Devkit",
    "Layout",
    "Listed",
    "list_images",
    "read_class_list",
    "read_devkit",
    "recognise_layout",
]

LAYOUTS: tuple[Layout, ...] = (
    Ilsvrc2012(),
    Ilsvrc2010(),
    Kaggle(),
    TinyImageNet(),
    Cifar10(),
    WebDataset(),
    Parquet(),
    HuggingFace(),
    Winter2021(),
    Fall2011(),
    ClassTars(),
    Folders(),
)
"""The layouts that come with Freelight, in the order in which they are tried. Any other folder has class folders."""


def list_images(
    images: Path,
    *,
    layout: str | Layout | None = None,
    val_fraction: float | None = None,
    class_names: Path | None = None,
    classes: Path | None = None,
    label_order: str = "wnid",
    seed: int = 0,
) -> Source | OrderedSource:
    """List the pictures under `images`; `Labelling` describes the other arguments.

    layout: the name of one of `LAYOUTS`, or a layout of your own; None recognises one of `LAYOUTS`. A layout that can
    only be read in order gives an `OrderedSource`, whose pictures become known while `make_shards` reads it.
    """
    # The working folder may change before the source is read.
    images = images.absolute()
    class_names, classes = (path and path.absolute() for path in (class_names, classes))
    labelling = Labelling(
        val_fraction=val_fraction, class_names=class_names, classes=classes, label_order=label_order, seed=seed
    )
    if layout is None:
        chosen = recognise_layout(images)
    else:
        chosen = _layout_named(layout) if isinstance(layout, str) else layout
        if not chosen.recognises(images):
            raise FreelightError(f"`images` {images} does not have `layout` {chosen.name}; expected {chosen.expected}")
    collecting = gc.isenabled()
    gc.disable()  # a listing makes a million tuples and no cycles; searching for cycles takes a fifth of the time
    try:
        found = chosen.list_source(images, labelling)
        if chosen in LAYOUTS[:-1]:
            found = replace(found, notes=[*found.notes, *unused_splits(images, found)])
        return found if isinstance(found, OrderedSource) else label_images(found, labelling)
    finally:
        if collecting:
            gc.enable()


def recognise_layout(images: Path) -> Layout:
    """Return the layout of `images`. Raises `FreelightError` if it has none of `LAYOUTS`."""
    for layout in LAYOUTS:
        if layout.recognises(images):
            return layout
    if is_archive(images):
        raise FreelightError(
            f"`images` {images} holds neither class tars (n01440764.tar) nor samples of a WebDataset (<key>.jpg with "
            "<key>.cls or .json, not compressed); unpack it and give the folder"
        )
    if not images.exists():
        raise FreelightError(f"`images` {images} is not a folder or an archive: it does not exist; correct the path")
    raise FreelightError(f"`images` {images} has no known layout; expected {LAYOUTS[-1].expected}")


def _layout_named(name: str) -> Layout:
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise FreelightError(f"`layout` (={name}) must be one of {', '.join(layout.name for layout in LAYOUTS)}")
