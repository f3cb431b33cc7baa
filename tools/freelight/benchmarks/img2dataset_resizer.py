"""Contender: img2dataset's resizer, run by its own environment.

Arguments: file with one path per line, size, JPEG quality.
"""

import io
import os
import sys
from pathlib import Path

from img2dataset.resizer import Resizer  # type: ignore[import-not-found]  # it is in its own environment only

from freelight.benchmarks.protocol import serve


def main() -> None:
    """Rescale all listed files in each round."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # albumentations contacts the network when it is imported

    listing, size, quality = sys.argv[1:]
    paths = [Path(line) for line in Path(listing).read_text(encoding="utf-8", errors="surrogateescape").split("\n")]
    resizer = Resizer(
        image_size=int(size), resize_mode="center_crop", resize_only_if_bigger=False, encode_quality=int(quality)
    )

    def resize_all() -> int:
        """Return the number of pictures without an error. The resizer returns (jpeg, four lengths, error)."""
        return sum(resizer(io.BytesIO(path.read_bytes()))[-1] is None for path in paths)

    serve(resize_all, ("img2dataset", "opencv-python-headless", "albumentations", "numpy"))


if __name__ == "__main__":
    main()
