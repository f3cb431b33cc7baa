"""The tars to index: `train='imagenet1k-train-{0000..1023}.tar'`, with braces, globs, paths and URLs."""

import glob
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import FreelightError, as_text, ask_store, is_plain_name
from ..dataset import is_base
from ..layouts import SPLIT_OF

MAX_TARS = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
_GLOB, _GLOB_URL = re.compile(r"[*?\[]"), re.compile(r"[*\[]")  # a question mark begins a URL's query


@dataclass(frozen=True)
class TarSplit:
    """The tars of a split, in order: absolute paths, or names in the folder `base` (a URL)."""

    name: str
    tars: tuple[str, ...]
    base: str | None = None


def find_tars(splits: Sequence[str]) -> tuple[list[TarSplit], list[str]]:
    """Return the splits that texts `<split>=<tars>` name, and notes on splits that get another name.

    tars: a path or URL; `{0000..1023}` and `{a,b}` are expanded, then `*`, `?` and `[...]`. A split that is named
    several times has the tars of all. Raises `FreelightError` if a tar is missing, or is named twice.
    """
    found: dict[str, list[str]] = {}
    notes = []
    for given in splits:
        word, equals, pattern = given.partition("=")
        split = SPLIT_OF.get(word.lower(), word)
        if not equals or not pattern or not is_plain_name(split):
            raise FreelightError(
                f"`splits` (={given}) must be <split>=<tars>, such as train='train-{{0000..1023}}.tar'"
            )
        if split != word and (note := f"{word} is read as the split {split}") not in notes:
            notes.append(note)
        found.setdefault(split, []).extend(_expand(pattern))
    if not found:
        raise FreelightError("`splits` is empty; name the tars of at least one split, such as train='train-*.tar'")
    listed = [_to_split(split, tars) for split, tars in found.items()]
    seen: dict[tuple[str | None, str], str] = {}
    for tars in listed:
        for tar in tars.tars:
            if (tars.base, tar) in seen:
                raise FreelightError(
                    f"`splits` name {tar} twice ({seen[tars.base, tar]} and {tars.name}); leave one out"
                )
            seen[tars.base, tar] = tars.name
    return listed, notes


def _to_split(split: str, tars: list[str]) -> TarSplit:
    """Check the tars of a split. They lie behind one URL, or are files of this machine."""
    urls = [tar for tar in tars if "://" in tar]
    if not urls:
        for tar in tars:
            if not Path(tar).is_file():
                raise FreelightError(f"`splits`: {tar} of {split} is not a file; correct the name")
        return TarSplit(split, tuple(tars))
    folders = {tar.rpartition("/")[0] for tar in tars}
    if len(urls) < len(tars) or len(folders) > 1:
        raise FreelightError(f"`splits`: the tars of {split} lie in several folders; those behind a URL must share one")
    (base,) = folders
    names = tuple(tar.rpartition("/")[2] for tar in tars)
    if not is_base(base):
        raise FreelightError(f"`splits`: {base} is not the URL of a folder, without a query")
    for name in names:
        if not is_plain_name(name) or not name.endswith(".tar"):
            raise FreelightError(f"`splits`: {name} behind {base} must be a .tar of letters, digits, '.', '_' and '-'")
    return TarSplit(split, names, base)


def _expand(pattern: str) -> Iterator[str]:
    """Yield the tars of a pattern. Raises `FreelightError` if it matches none, or too many."""
    places = list(itertools.islice(expand_braces(pattern), MAX_TARS + 1))
    if len(places) > MAX_TARS:
        raise FreelightError(f"`splits`: {pattern} names more than {MAX_TARS} tars")
    for given in places:
        place = given if "://" in given else str(Path(given).expanduser())  # no shell expands it within quotes
        if not (_GLOB_URL if "://" in place else _GLOB).search(place):
            yield place if "://" in place else as_text(str(Path(place).absolute()))
            continue
        matches = _glob_url(place) if "://" in place else sorted(glob.glob(place))
        if not matches:
            raise FreelightError(f"`splits`: {place} matches no file; correct it")
        yield from (match if "://" in match else as_text(str(Path(match).absolute())) for match in matches)


def _glob_url(pattern: str) -> list[str]:
    base, _, name = pattern.rpartition("/")
    if _GLOB_URL.search(base):
        raise FreelightError(f"`splits`: {pattern} must have its * and [ ] after the last slash")

    def find(files: Any, root: str) -> list[str]:
        return [str(path) for path in files.glob(f"{root}/{name}")]

    paths = ask_store(base, find, f"{base} cannot be listed", missing=f"{base} is missing; correct it")
    return sorted(f"{base}/{path.rpartition('/')[2]}" for path in paths)


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the texts of a pattern with `{first..last}` (digits, as wide as `first`) and `{a,b}`, as bash does."""
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    before, inner, after = pattern[: found.start()], found[1], pattern[found.end() :]
    ends = _RANGE.fullmatch(inner)
    if ends is None and "," not in inner:
        raise FreelightError(f"`splits`: {{{inner}}} in {pattern} is neither a range such as {{0000..1023}} nor a list")
    choices: Iterator[str] | list[str] = inner.split(",")
    if ends is not None:
        first, last = int(ends[1]), int(ends[2])
        if last < first:
            raise FreelightError(f"`splits`: the range {{{inner}}} in {pattern} has its larger end first")
        choices = (f"{number:0{len(ends[1])}d}" for number in range(first, last + 1))
    for choice in choices:
        yield from expand_braces(f"{before}{choice}{after}")
