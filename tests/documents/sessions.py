"""Run the blocks of a document as its reader does: in order, in one shell, one Python session and one folder."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from document_blocks import ROOT, Block, prints

LIMIT = 900  # seconds for one block
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

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str], user: int | None) -> None:
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
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


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a reader sits: `folder/work` is the working directory, `folder/home` the home, `folder/code` is ours.

    python: runs blocks of Python, from the first of them on. path: of the shell. user: a number; None is this one.
    """

    folder: Path
    python: Path
    path: str
    environment: Mapping[str, str]
    user: int | None = None

    def start(self, language: str) -> Session:
        words = [str(self.python), "-u", str(self.folder / "code/session.py")]
        if language == "bash":
            words = ["bash", "-c", SHELL]
        given = {**self.environment, "HOME": str(self.folder / "home"), "PATH": self.path}
        return Session(words, self.folder / "work", given, self.user)


def page_place(folder: Path) -> Place:
    """Return an empty place with the checkout's `tools` and `examples`, where this Python's commands come first."""
    (folder / "work").mkdir()
    for name in ("tools", "examples"):
        (folder / "work" / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return Place(folder=folder, python=Path(sys.executable), path=path, environment=environment)


def run_blocks(blocks: Sequence[Block], place: Place) -> list[str]:
    """Run those blocks that have no reason not to; return what went wrong, at most one thing."""
    code = place.folder / "code"
    code.mkdir()
    (place.folder / "home").mkdir(exist_ok=True)
    (code / "session.py").write_text(PYTHON)
    sessions: dict[str, Session] = {}
    try:
        for number, block in enumerate(blocks):
            if block.reason is not None:
                continue
            if block.language not in sessions:
                sessions[block.language] = place.start(block.language)
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
