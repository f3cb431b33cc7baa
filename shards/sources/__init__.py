"""Where pictures come from: listings, labels, tars read in place, and sources that can only be read in order."""

from .labelling import Labelling, label_images, read_class_names
from .listing import UNLABELLED, ByClass, ClassInfo, LeftOut, Listing, Source, SourceImage, keep_last
from .ordered import OrderedPiece, OrderedSource, Picture, TarGzPiece, is_wanted
from .segments import RescaledSegment, read_blob, rescale_in_order
from .tarwalk import open_tar, walk_tar

__all__ = [
    "UNLABELLED",
    "ByClass",
    "ClassInfo",
    "Labelling",
    "LeftOut",
    "Listing",
    "OrderedPiece",
    "OrderedSource",
    "Picture",
    "RescaledSegment",
    "Source",
    "SourceImage",
    "TarGzPiece",
    "is_wanted",
    "keep_last",
    "label_images",
    "open_tar",
    "read_blob",
    "read_class_names",
    "rescale_in_order",
    "walk_tar",
]
