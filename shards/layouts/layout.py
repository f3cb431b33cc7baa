"""What a layout is: one way in which a copy of ImageNet, or any set of pictures, lies on disk."""

from pathlib import Path
from typing import Protocol

from ..sources import Labelling, Listing, OrderedSource


class Layout(Protocol):
    """Recognises a kind of copy by its files, and lists its pictures. Any object with these four members is one.

    name: for the manifest, and for `layout` of `list_images`. expected: the files of such a copy, for errors.
    """

    @property
    def name(self) -> str: ...

    @property
    def expected(self) -> str: ...

    def recognises(self, images: Path) -> bool:
        """Tell whether the folder or archive `images` has this layout. Look at names, and read no picture."""
        ...

    def list_source(self, images: Path, labelling: Labelling) -> Listing | OrderedSource:
        """List the pictures of every split.

        Return a `Listing` if each picture is a range of bytes in a file, which then is read in place. Return an
        `OrderedSource` if the pictures can only be read in order. `list_images` and `make_shards` do the rest: labels,
        the validation draw, the subset of classes. So use `labelling` only to skip unneeded pictures, or to read files
        that it names. Raises `FreelightError` if files are missing or damaged.
        """
        ...
