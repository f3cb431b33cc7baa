"""Freelight: ImageNet to WebDataset shards, DALI augmentation, and AlexNet as its authors trained it.

Importing this package loads neither torch nor DALI; `freelight.shards`, `freelight.pipeline` and `freelight.train` are
its parts.
"""

__version__ = "0.1.0"
