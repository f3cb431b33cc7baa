"""The miniature ImageNet, for the tests of the layouts."""

from miniatures import contents_of, expected, ilsvrc2010, ilsvrc2012, kaggle, mini, tar, tiny_imagenet, webdataset

__all__ = [
    "contents_of",
    "expected",
    "ilsvrc2010",
    "ilsvrc2012",
    "kaggle",
    "mini",
    "tar",
    "tiny_imagenet",
    "webdataset",
]
