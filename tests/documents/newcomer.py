"""Follow README.md and the quickstart line by line, as a newcomer does: `make newcomer`.

Each page has a fresh clone of the last commit, home and virtual environment, and, if root runs this, a user of its own.
Prints time and bytes. Variables PIP_* and SSL_* say where packages come from; no other is passed on.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from document_blocks import ROOT, read_page
from sessions import Place, run_blocks

USER = 54321
PASSED_ON = ("PIP_", "SSL_", "LANG")
REACHED = "`make newcomer` runs it"


def newcomers_place(folder: Path, path: str) -> Place:
    """Return a place with a fresh clone of the checkout in it."""
    clone = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", str(ROOT), str(folder / "work")]
    subprocess.run(clone, check=True)
    (folder / "home").mkdir()
    user = USER if os.geteuid() == 0 else None
    if user is not None:
        subprocess.run(["chown", "-R", f"{user}:{user}", str(folder)], check=True)
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    environment |= {"USER": "newcomer", "TMPDIR": str(folder / "home")}
    return Place(folder=folder, python=folder / "work/.venv/bin/python", path=path, environment=environment, user=user)


def size_of(folder: Path) -> str:
    words = ["du", "-s", "--block-size=1MB", str(folder)]
    return f"{int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]):,} MB"


def main() -> int:
    """Follow the pages; return 1 if a block failed."""
    for name in sys.argv[1:] or ("README.md", "docs/quickstart.md"):
        folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
        folder.chmod(0o755)
        try:
            blocks = [
                replace(block, reason=None) if block.reason and REACHED in block.reason else block
                for block in read_page(ROOT / name).blocks
            ]
            start = time.monotonic()
            faults = run_blocks(blocks, newcomers_place(folder, "/usr/local/bin:/usr/bin:/bin"))
            seconds = time.monotonic() - start
            print(f"{name}: {sum(block.reason is None for block in blocks)} of {len(blocks)} blocks, {seconds:.0f} s,")
            print(f"  environment {size_of(folder / 'work/.venv')}, all {size_of(folder)}", flush=True)
            if faults:
                print("\n".join(faults))
                return 1
        finally:
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
