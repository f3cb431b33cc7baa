"""WebDataset tars of other people, `imagenet1k-train-0000.tar` and so on; also a dataset that Freelight made."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..base import FreelightError
from ..sources import UNLABELLED, Labelling, LeftOut, Listing, SourceImage, read_class_names, scan_folder
from .dataset_directory import UNFINISHED, is_dataset, list_dataset
from .folders import SPLIT_NAMES, SPLIT_OF
from .sample_classes import Listed, SampleClasses, find_class_list
from .tar_samples import holds_samples, read_samples

_TRIED = 4
"""Tars of a folder that are looked into before it is taken for another layout."""


class WebDataset:
    """Tars of samples, or a dataset directory."""

    name = "webdataset"
    expected = (
        "tars of samples (<key>.jpg, .jpeg, .png or .webp, and <key>.cls or .json) such as train-000000.tar, in the "
        "folder or in its train/ and val/, or one tar, or a dataset of make_shards"
    )

    def recognises(self, images: Path) -> bool:
        """Tell whether `images` is a dataset directory, or whether the first members of a tar there are samples."""
        if images.is_file():
            return images.name.endswith(".tar") and holds_samples(images)
        return is_dataset(images) or any(map(_holds_samples, _find_tars(images)[:_TRIED]))

    def list_source(self, images: Path, labelling: Labelling) -> Listing:
        """List the samples in place. A sample of train or val without a label is left out."""
        if is_dataset(images):
            return list_dataset(images, self.name)
        root = images.parent if images.is_file() else images
        if (root / UNFINISHED).is_dir():
            raise FreelightError(f"{root} is an unfinished dataset; finish it first: run its make_shards command again")
        listing = Listing(root=root, layout=self.name, splits={})
        named = read_class_names(labelling.class_names) if labelling.class_names else {}
        classes = SampleClasses([Listed(*item) for item in named.items()] or find_class_list(root))
        for split, file in _split_files(images, listing):
            mtime = (root / file).stat().st_mtime_ns
            listing.splits.setdefault(split, {})
            for sample in read_samples(listing, file, split):
                if len(sample.pictures) > 1:
                    kinds = ", ".join(sorted(sample.pictures))
                    listing.left_out.append(LeftOut(split, f"{file}/{sample.key}", f"has several pictures: {kinds}"))
                    continue
                (member,) = sample.pictures.values()
                image = SourceImage(f"{file}/{member.name}", UNLABELLED, file, member.offset, member.bytes, mtime)
                if fault := classes.add(split, image, sample):
                    listing.left_out.append(LeftOut(split, image.path, fault))
        classes.name(listing)
        return listing


def _find_tars(images: Path) -> list[Path]:
    """Return the tars in a folder, and in its split folders, sorted."""
    if images.is_file():
        return [images]
    if not images.is_dir():
        return []
    split_folders = [
        Path(entry.path) for entry in scan_folder(images) if entry.name.lower() in SPLIT_OF and entry.is_dir()
    ]
    return [
        Path(entry.path)
        for folder in (images, *split_folders)
        for entry in scan_folder(folder)
        if entry.name.endswith(".tar") and not entry.name.startswith(".") and entry.is_file()
    ]


def _holds_samples(tar: Path) -> bool:
    try:
        return holds_samples(tar)
    except FreelightError:  # damaged: another one may tell
        return False


def _split_files(images: Path, listing: Listing) -> Iterator[tuple[str, str]]:
    """Yield (split, file) of the tars, the splits in their usual order. Note which words are read as which split.

    The split is that of the folder, or the word for one in the file name; tars without such a word are `train`, if all
    are so. Raises `FreelightError` if it is not clear to which split a tar belongs.
    """
    found: dict[str, list[str]] = {}
    unknown: list[str] = []
    words: dict[str, str] = {}
    for tar in _find_tars(images):
        file = str(tar.relative_to(listing.root))
        stem = tar.parent.name if tar.parent != listing.root else tar.name.removesuffix(".tar")
        named = {word for word in re.split(r"[^a-z]+", stem.lower()) if word in SPLIT_OF}
        if len({SPLIT_OF[word] for word in named}) > 1:
            raise FreelightError(f"{tar} names several splits: {', '.join(sorted(named))}; rename it")
        if named:
            word = min(named)
            split = words[word] = SPLIT_OF[word]
            found.setdefault(split, []).append(file)
        else:
            unknown.append(file)
    if unknown and found:
        raise FreelightError(
            f"{listing.root / unknown[0]} is of no known split, unlike other tars there; put train, val or test into "
            "its name, or move it away"
        )
    listing.notes += [f"{word} is read as the split {split}" for word, split in words.items() if word != split]
    for split in SPLIT_NAMES:
        for file in found.get(split, unknown if split == "train" else []):
            yield split, file
