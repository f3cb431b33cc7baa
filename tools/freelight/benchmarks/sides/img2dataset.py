"""img2dataset's side: it prepares squares from URLs; it has no loader. The URLs here are files."""

from collections.abc import Sequence
from pathlib import Path

from img2dataset import download  # type: ignore[import-not-found]  # it is in its own environment only

from freelight.benchmarks.sides.pictures import File
from freelight.benchmarks.sides.settings import QUALITY, SIZE, WORKERS

DISTRIBUTIONS = ("img2dataset", "opencv-python-headless")


def prepare(files: Sequence[File], out: str) -> None:
    """Write the squares of the files as WebDataset shards."""
    listing = Path(f"{out}.txt")
    listing.write_text("".join(f"{Path(path).absolute().as_uri()}\n" for path, _ in files), encoding="utf-8")
    download(
        url_list=str(listing),
        output_folder=out,
        output_format="webdataset",
        image_size=SIZE,
        resize_mode="center_crop",
        encode_quality=QUALITY,
        processes_count=WORKERS,
        thread_count=WORKERS,
        number_sample_per_shard=max(len(files) // (2 * WORKERS), 1),
    )
