"""Where pictures come from: listings, labels, tars read in place, and sources that can only be read in order."""

from .ignoring import ignored_file, ignored_folder, ignored_member
from .labelling import LABEL_ORDERS, Labelling, label_images, read_class_names, read_list
from .listing import UNLABELLED, ByClass, ClassInfo, LeftOut, Listing, Source, SourceImage, keep_last
from .ordered import ForwardReader, OrderedPiece, OrderedSource, Picture, TarGzPiece, is_wanted
from .segments import RescaledSegment, read_blob, rescale_in_order
from .tarwalk import Member, ReadAt, open_tar, walk_tar
from .treewalk import folders_above, list_below, relative_path, scan_folder, usable_entries

__all__ = [
    "LABEL_ORDERS",
    "UNLABELLED",
    "ByClass",
    "ClassInfo",
    "ForwardReader",
    "Labelling",
    "LeftOut",
    "Listing",
    "Member",
    "OrderedPiece",
    "OrderedSource",
    "Picture",
    "ReadAt",
    "RescaledSegment",
    "Source",
    "SourceImage",
    "TarGzPiece",
    "folders_above",
    "ignored_file",
    "ignored_folder",
    "ignored_member",
    "is_wanted",
    "keep_last",
    "label_images",
    "list_below",
    "open_tar",
    "read_blob",
    "read_class_names",
    "read_list",
    "relative_path",
    "rescale_in_order",
    "scan_folder",
    "usable_entries",
    "walk_tar",
]
