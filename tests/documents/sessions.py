"""Run the blocks of a document as its reader does: in order, in one shell, one Python session and one folder."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from document_blocks import ROOT, Block, prints

LIMIT = 300  # seconds for one block
DONE = "--- the block is done ---"
SHELL = f"set -eo pipefail; while read -r path; do . \"$path\" </dev/null; printf '\\n%s\\n' '{DONE}'; done"
PYTHON = f"""
if __name__ == "__main__":
    import sys
    sys.path[0] = ""
    names = {{"__name__": "__main__"}}
    for line in sys.stdin:
        path = line.strip()
        exec(compile(open(path).read(), path, "exec"), names)
        print("\\n{DONE}", flush=True)
"""


class Session:
    """A process that runs files: it reads their paths, says when one is done, and ends at the first that fails."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, path: Path) -> tuple[bool, str]:
        """Run a file; return whether it succeeded, and what it printed."""
        assert self.process.stdin
        assert self.process.stdout
        watch = threading.Timer(LIMIT, self.process.kill)
        watch.start()
        printed = []
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line == f"{DONE}\n":
                    return True, "".join(printed)
                printed.append(line)
        finally:
            watch.cancel()
        return False, "".join(printed)

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(LIMIT)
        self.process.stdout.close()


def run_blocks(blocks: tuple[Block, ...], folder: Path) -> list[str]:
    """Run those blocks that have no reason not to, in `folder`; return what went wrong, at most one thing.

    `folder/work` has the checkout's `tools` and `examples`, and `folder/home` is the user's.
    """
    work, home, code = folder / "work", folder / "home", folder / "code"
    for place in (work, home, code):
        place.mkdir()
    for name in ("tools", "examples"):
        (work / name).symlink_to(ROOT / name)
    (code / "session.py").write_text(PYTHON)
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "HOME": str(home), "PATH": f"{binaries}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    words = {"bash": ["bash", "-c", SHELL], "python": [sys.executable, "-u", str(code / "session.py")]}
    sessions: dict[str, Session] = {}
    try:
        for number, block in enumerate(blocks):
            if block.reason is not None:
                continue
            if block.language not in sessions:
                sessions[block.language] = Session(words[block.language], work, environment)
            path = code / f"{number}.{block.language}"
            path.write_text(f"(\n{block.code}\n) && exit 1 || test $? = {block.fails}\n" if block.fails else block.code)
            succeeded, printed = sessions[block.language].run(path)
            if not succeeded:
                return [f"line {block.line} failed:\n{block.code}\n{printed}"]
            if missing := prints(block.printed or "", printed):
                return [f"line {block.line} did not print:\n" + "\n".join(missing) + f"\nbut:\n{printed}"]
    finally:
        for session in sessions.values():
            session.close()
    return []
