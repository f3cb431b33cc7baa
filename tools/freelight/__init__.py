"""Freelight: turn ImageNet into WebDataset shards, augment with DALI, and train AlexNet as its authors did.

Importing this package loads neither torch nor DALI; `freelight.shards`, `freelight.pipeline` and `freelight.train` are
its parts.
"""

__version__ = "0.2.0"
