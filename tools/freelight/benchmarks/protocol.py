"""How a contender in a peer's own environment takes part: a long-lived process that speaks lines of JSON.

When it is ready it says `{"versions": {...}}`. For every line `go` on its standard input it does one round and says
`{"items": n, "seconds": s}`. It ends with its input. Standard library only: the peer's environment lacks ours.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata


def serve(work: Callable[[], int], distributions: Sequence[str]) -> None:
    """Answer every `go` by timing `work()`, which returns the number of items done, until the input ends.

    `distributions` are named with their versions at the start.
    """
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # what the peer's libraries print is no reply
        versions = {name: metadata.version(name) for name in distributions}
        print(json.dumps({"versions": {"python": platform.python_version(), **versions}}), file=replies, flush=True)
        for line in sys.stdin:
            if line != "go\n":
                raise ValueError(f"expected a line 'go', read {line!r}")
            start = time.perf_counter()
            items = work()
            seconds = time.perf_counter() - start
            print(json.dumps({"items": items, "seconds": seconds}), file=replies, flush=True)
