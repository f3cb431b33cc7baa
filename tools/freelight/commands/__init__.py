"""The sub-commands of `freelight`, one per module, as its `command`."""

import importlib.util
import sys
from pathlib import Path

# A tool of the checkout runs by the Python that is first on PATH, and finds this folder beside itself in any case.
if importlib.util.find_spec("freelight.shards") is None:
    remedy = f"in {Path(__file__).parents[3]} run: make install && . .venv/bin/activate"
    print(f"error: Freelight is not installed for {sys.executable}; {remedy}", file=sys.stderr)
    sys.exit(2)
