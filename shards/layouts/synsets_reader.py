"""A program of its own that reads the table `synsets` of a devkit's `meta.mat`, because SciPy's reader may crash.

One flipped byte is enough for that, and a compressed table can grow to any size. `devkit.py` runs this file.

stdin: `meta.mat`. Argument: the field of the class numbers. stdout: JSON, the classes without children (the table also
holds inner nodes of WordNet, which have higher numbers and children), or `{"fault": ...}`.
"""

import io
import json
import resource
import sys
from pathlib import Path

MEMORY = 512 << 20
"""What the reader may take beyond its imports, bytes."""
CPU_SECONDS = 10
MAX_CLASSES = 1 << 15
"""WordNet's release for ImageNet has 21,841."""


def main() -> None:
    """Read stdin and write stdout."""
    import numpy as np
    import scipy.io

    data = sys.stdin.buffer.read()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = sys.argv[1]
    answer: object
    try:
        content = scipy.io.loadmat(io.BytesIO(data), squeeze_me=True, variable_names=["synsets"])
        rows = np.atleast_1d(content["synsets"])[:MAX_CLASSES]
        answer = [
            {
                "number": int(row[number]),
                "wnid": str(row["WNID"]).strip()[:80],
                "words": str(row["words"]).strip()[:1000],
            }
            for row in rows
            if int(row["num_children"]) == 0
        ]
    except MemoryError:
        answer = {"fault": f"it takes more than {MEMORY >> 20} MiB"}
    except Exception as error:  # SciPy's reader raises errors of any type
        answer = {"fault": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
