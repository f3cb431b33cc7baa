"""The layouts in which copies of ImageNet lie about; each is recognised by its files."""

import gc
from pathlib import Path
from types import ModuleType

from ..base.errors import FreelightError
from ..sources.labelling import Labelling, arrange
from ..sources.listing import Source
from ..sources.ordered import OrderedSource
from . import fall2011, folders, huggingface, ilsvrc2010, ilsvrc2012, kaggle, parquet

# In the order in which they are tried; class folders are what is left.
LAYOUTS: dict[str, ModuleType] = {
    "ilsvrc2012": ilsvrc2012,
    "ilsvrc2010": ilsvrc2010,
    "kaggle": kaggle,
    "parquet": parquet,
    "huggingface": huggingface,
    "fall2011": fall2011,
    "folders": folders,
}


def list_images(
    images: Path,
    *,
    layout: str | None = None,
    val_fraction: float | None = None,
    class_names: Path | None = None,
    classes: Path | None = None,
    label_order: str = "wnid",
    seed: int = 0,
) -> Source | OrderedSource:
    """List the pictures under `images`, in the layout named or else recognised; see `Labelling` for the rest.

    A layout that can only be read in order gives an `OrderedSource`, whose pictures are known once it was staged.
    """
    labelling = Labelling(
        val_fraction=val_fraction, class_names=class_names, classes=classes, label_order=label_order, seed=seed
    )
    if layout is not None and layout not in LAYOUTS:
        raise FreelightError(f"--layout (={layout}) must be one of {', '.join(LAYOUTS)}")
    module = LAYOUTS[layout or recognise_layout(images)]
    if layout is not None and not module.recognises(images):
        raise FreelightError(f"--images {images} is not of --layout {layout}; expected {module.EXPECTED}")
    collecting = gc.isenabled()
    gc.disable()  # a listing makes a million tuples and no cycles; looking for cycles takes a fifth of the time
    try:
        found = module.list_source(images, labelling)
        return found if isinstance(found, OrderedSource) else arrange(found, labelling)
    finally:
        if collecting:
            gc.enable()


def recognise_layout(images: Path) -> str:
    """Return the name of the layout of `images`. Raises `FreelightError` when it is none that is known."""
    for name, module in LAYOUTS.items():
        if module.recognises(images):
            return name
    if not images.exists():
        raise FreelightError(f"--images {images} is not a folder or an archive; there is nothing of that name")
    raise FreelightError(f"--images {images} is an archive of no known layout; expected {folders.EXPECTED}")
