"""What all sides of the comparison share. The standard library alone: every environment imports it."""

SIZE, QUALITY = 256, 95
"""Side of the prepared squares, pixels, and their JPEG quality."""
CROP = 224
"""Side of the crops, pixels."""
WORKERS = 2
"""Threads or worker processes of everyone."""
READERS = 1
"""Of everyone that reads from a store, whose server and connections need a core too."""
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of the channels, 0-255 units."""
CROPS = {"square": "random", "whole": "resized"}
"""The crop from each kind of dataset: at a random place of a square; a random resized crop of a whole picture."""
OUTPUTS = ("uint8", "float32", "rand")
"""`uint8`: crop and flip. `float32`: then means and std. `rand`: RandAugment between the two."""
