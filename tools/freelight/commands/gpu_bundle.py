"""Pack Freelight, its wheels and a dataset for a machine with a card and without a network.

The machine needs Linux on x86-64, torch, pip, and the Python that --python names. OUT gets folders part-01, part-02
and so on, each small enough to be carried alone. There, `python3 part-01/unpack.py FOLDER` unpacks one; with the last
one it installs everything into FOLDER/venv. docs/gpu.md has an example.
"""

import tempfile
from pathlib import Path

import click

from freelight.shards.base import Command, reports_errors, say_result, with_output

MANIFEST_ROOM = 1 << 18
"""Bytes of each part for its manifest and `unpack.py`."""


@click.command(
    name="gpu-bundle",
    help=__doc__,
    cls=Command,
    groups={
        "Content": "shards python present",
        "Result": "out part-mb quiet json",
    },
    examples=(
        "freelight gpu-bundle --out bundle --present torch",
        "freelight gpu-bundle --out bundle --shards dataset --python 3.12",
    ),
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the parts.")
@click.option("--shards", type=click.Path(path_type=Path), help="Dataset directory to pack. [default: none]")
@click.option("--python", default="3.12", show_default=True, help="Version of Python there.")
@click.option(
    "--present",
    multiple=True,
    metavar="NAME",
    help="Package that is there already; repeat it for several. torch must be there.",
)
@click.option(
    "--part-mb", default=48, show_default=True, type=click.IntRange(min=1), help="Size of a part at most, MiB."
)
@with_output
@reports_errors
def command(out: Path, shards: Path | None, python: str, present: tuple[str, ...], part_mb: int) -> None:
    from freelight.acceptance import bundle, unpack
    from freelight.shards import Dataset, FreelightError

    if out.exists() and any(out.iterdir()):
        raise FreelightError(f"`out` (={out}) is not empty; give a new folder")
    with tempfile.TemporaryDirectory(prefix="freelight-bundle-") as folder:
        source, dataset = Path(folder, unpack.SOURCE), Path(folder, unpack.DATASET)
        bundle.pack_source(source)
        files = {unpack.SOURCE: source}
        if shards is not None:
            bundle.pack_dataset(Dataset(shards), dataset)
            files[unpack.DATASET] = dataset
        wanted = bundle.requirements(present)
        for wheel in bundle.download_wheels(Path(folder), wanted, present, python):
            files[f"{unpack.WHEELS}/{wheel.name}"] = wheel
        parts = bundle.write_parts(files, out, (part_mb << 20) - MANIFEST_ROOM)
        size = sum(path.stat().st_size for path in files.values())
    lines = (
        f"{out}: {len(files)} files of {size / 1e6:.0f} MB in {len(parts)} parts; on the other machine:",
        "for part in part-*; do python3 $part/unpack.py FOLDER; done",
        "FOLDER/venv/bin/python -m freelight gpu-acceptance --out OUT",
    )
    say_result(lines, {"out": str(out), "files": len(files), "bytes": size, "parts": len(parts)})
