"""The protocol of a contender in its own process: lines of JSON on standard output.

The process prints `{"versions": {...}}` when it is ready. For every line `go` on its standard input it does one round
and prints `{"items": n, "seconds": s}`. It ends when its input ends. This module uses the standard library alone,
because a peer's environment has none of our packages.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata


def serve(work: Callable[[], int], distributions: Sequence[str]) -> None:
    """Time `work()`, which returns its number of items, for every line `go`, until the input ends.

    distributions: packages whose versions are printed first.
    """
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # what the peer's libraries print must not mix with the replies
        versions = {name: metadata.version(name) for name in distributions}
        print(json.dumps({"versions": {"python": platform.python_version(), **versions}}), file=replies, flush=True)
        for line in sys.stdin:
            if line != "go\n":
                raise ValueError(f"expected a line 'go', read {line!r}")
            start = time.perf_counter()
            items = work()
            seconds = time.perf_counter() - start
            print(json.dumps({"items": items, "seconds": seconds}), file=replies, flush=True)
