"""The challenge's development kit: the classes' numbers and names, and the ground truth of the validation pictures."""

import gzip
import os
import re
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..base import FreelightError, integer, list_of, open_regular, parse_json, record, text
from ..images import GZIP_MAGIC
from ..sources import ForwardReader, walk_tar
from . import synsets_reader

DEVKITS = {2012: "ILSVRC2012_devkit_t12.tar.gz", 2010: "ILSVRC2010_devkit-1.0.tar.gz"}
MAX_DEVKIT = 64 << 20
"""Upper bound for an unpacked devkit, bytes."""
MAX_TRUTH = 4 << 20
"""Upper bound for a ground truth, bytes. The largest, for the 150,000 pictures of 2010's test, has 0.6 MB."""
TIMEOUT = 20
"""Seconds after which the reader of `meta.mat` is ended; `synsets_reader` limits its own CPU time and memory."""
_REMEDY = "fetch the devkit again"
_CLASSES = list_of(record({"number": integer(least=1), "wnid": text(empty=False), "words": text()}))


@dataclass(frozen=True)
class Devkit:
    """The contents of a devkit.

    order: class ids by number; `order[0]` has number 1. names: class names by id. validation: class number of each
    validation picture, in order.
    """

    order: tuple[str, ...]
    names: dict[str, str]
    validation: tuple[int, ...]

    def class_ids(self, numbers: tuple[int, ...], where: object) -> list[str]:
        """Return the class ids of class numbers. Raises `FreelightError`, naming `where`, for a number out of range."""
        if wrong := [number for number in numbers if not 1 <= number <= len(self.order)]:
            raise FreelightError(
                f"{where} holds {wrong[0]}, but the devkit's classes are 1 to {len(self.order)}; fetch both again"
            )
        return [self.order[number - 1] for number in numbers]


def read_devkit(path: Path, year: int) -> Devkit:
    """Read `meta.mat` and the ground truth from the devkit's tar.gz, without unpacking it."""
    truth_name = f"ILSVRC{year}_validation_ground_truth.txt"
    try:
        contents = _read_members(path, ("meta.mat", truth_name))
        validation = read_numbers(contents[truth_name].decode(), path)
        order, names = _read_synsets(contents["meta.mat"], year, path)
        return Devkit(order, names, validation)
    except KeyError as error:
        raise FreelightError(f"{path} lacks {error}; {_REMEDY}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise FreelightError(f"{path} cannot be read ({error}); {_REMEDY}") from None


def read_numbers(text: str, where: object) -> tuple[int, ...]:
    """Read class numbers, one per line."""
    if len(text) > MAX_TRUTH:
        raise FreelightError(f"{where}: the ground truth has more than {MAX_TRUTH} bytes; fetch it again")
    words = text.split()
    for place, word in enumerate(words, 1):
        if not re.fullmatch(r"[0-9]{1,9}", word):
            raise FreelightError(
                f"{where}: the ground truth does not have one class number per line: number {place} is {word[:80]!r}; "
                "fetch it again"
            )
    return tuple(map(int, words))


def _read_members(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of the files of these names in a folder `data/` of the archive."""
    contents: dict[str, bytes] = {}
    with open_regular(path, remedy=_REMEDY) as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if compressed else file
        read_at = ForwardReader(stream, path, limit=MAX_DEVKIT).read_at
        for member in walk_tar(read_at, path, skips_links=True):
            name = member.name.rsplit("/", 1)[-1]
            if name in names and "/data/" in f"/{member.name}":
                contents[name] = read_at(member.offset, member.bytes)
    return contents


def _read_synsets(mat: bytes, year: int, path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the wnids of the classes in order of their numbers, and their names."""
    where = f"{path}: meta.mat"
    command = [sys.executable, "-P", synsets_reader.__file__, f"ILSVRC{year}_ID"]
    # One thread: those of linear algebra take address space, which the reader limits.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        run = subprocess.run(
            command, input=mat, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise FreelightError(f"{where} is damaged: it takes over {TIMEOUT} s to read; {_REMEDY}") from None
    if run.returncode:
        raise FreelightError(
            f"{where} is damaged: its reader ended with {run.returncode} (a signal if negative); {_REMEDY}"
        )
    if run.stdout.startswith(b'{"fault"'):
        fault = parse_json(run.stdout, record({"fault": text()}), where=where, remedy=_REMEDY)["fault"]
        raise FreelightError(f"{where} cannot be read ({fault}); {_REMEDY}")
    rows = parse_json(run.stdout, _CLASSES, where=where, remedy=_REMEDY)
    leaves = sorted((row["number"], row["wnid"], row["words"]) for row in rows)
    if [number for number, _, _ in leaves] != list(range(1, len(leaves) + 1)):
        raise FreelightError(f"{where}: the classes without children are not numbered 1, 2, 3, ...; {_REMEDY}")
    return tuple(wnid for _, wnid, _ in leaves), {wnid: words for _, wnid, words in leaves}
