"""Run the installed commands as a user does, and check how they end and what they leave behind."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

BIN = Path(sys.executable).parent
TOOLS = Path(__file__).parents[2] / "tools"

PATIENCE = 10.0
"""Seconds until every process of a job that ended or was killed must be gone."""
WORKER, RANK = "LokyProcess", "spawn_main"
"""Patterns of the command lines of a worker of make_shards and of a rank of train."""
LIMIT = 120.0
"""Seconds that no job of these small datasets may take."""
ATTEMPTS = 10
"""How often a job is started to hit a moment of it, which a busy machine may let pass."""
MARK = "FREELIGHT_JOB"
"""Environment variable by which a job's processes are found, whatever their parent or session."""


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class MissedError(AssertionError):
    """The job succeeded before the moment came."""


class Job:
    """A command under way, in a session of its own."""

    def __init__(
        self, words: Sequence[str], output: Path, environment: dict[str, str], limit: Callable[[], None] | None
    ) -> None:
        self.mark, self.began = uuid.uuid4().hex, time.time()
        # Not pipes: an orphan would keep them open.
        self.stdout, self.stderr = (output / f"{self.mark}.{name}" for name in ("stdout", "stderr"))
        with self.stdout.open("w") as stdout, self.stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                words,
                env={**environment, MARK: self.mark},
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=limit,
            )

    def living(self) -> dict[int, str]:
        """Return the processes of the job that have not ended: id -> command line."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(folder.name)] = words
        return found

    def children(self, pattern: str) -> list[int]:
        """Return the processes below the command, the oldest first, whose command line matches `pattern`."""
        found, waiting = [], [self.process.pid]
        while waiting:
            with suppress(OSError):  # it ended
                folder = Path(f"/proc/{waiting.pop(0)}")
                if re.search(pattern, (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")):
                    found.append(int(folder.name))
                for task in (folder / "task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found

    def reads(self, folder: Path) -> bool:
        """Return whether the command has a shard in `folder` open."""
        opened = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(opened):
            with suppress(OSError):  # closed meanwhile
                path = Path(os.readlink(f"{opened}/{name}"))
                if path.parent == folder and path.suffix == ".tar":
                    return True
        return False

    def wait_until(self, moment: Callable[[], object]) -> None:
        """Return as soon as `moment()`; fail if the job ends before, with `MissedError` if it succeeded."""
        end = time.monotonic() + LIMIT
        while not moment():
            if self.process.poll() is not None:
                kind = AssertionError if self.process.returncode else MissedError
                raise kind(f"the job ended before the moment came: {self.end()}")
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.0005)

    def end(self) -> Ended:
        """Wait for the command and return how it ended. Fail if one of its processes is left after `PATIENCE`."""
        code = self.process.wait(LIMIT)
        end = time.monotonic() + PATIENCE
        while left := self.living():
            assert time.monotonic() < end, f"orphans: {left}"
            time.sleep(0.05)
        # Process numbers return after 32,768 processes: what another process of that number left is older.
        left_in_memory = [
            path
            for path in Path("/dev/shm").iterdir()
            if re.search(rf"[-_]{self.process.pid}[-_]", path.name) and path.stat().st_mtime >= self.began
        ]
        assert left_in_memory == []
        return Ended(code, self.stdout.read_text(errors="replace"), self.stderr.read_text(errors="replace"))

    def hurt(self, who: str, number: signal.Signals) -> None:
        """Send a signal to the `command` alone, to the `group` as Ctrl-C does, to a `worker`, or to `rank 0` or 1."""
        if who == "group":
            os.killpg(self.process.pid, number)
        elif who == "command":
            os.kill(self.process.pid, number)
        else:
            found = self.children(WORKER if who == "worker" else RANK)
            index = 0 if who == "worker" else int(who.removeprefix("rank "))
            if len(found) <= index:
                raise MissedError(f"there is no {who} any more")
            os.kill(found[index], number)

    def kill_all(self) -> None:
        """Kill what is left."""
        for process in self.living():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait(PATIENCE)


def stop(begin: Callable[[], Job], moment: Callable[[Job], object], who: str, number: signal.Signals) -> Ended:
    """Begin a job, send the signal at the moment, and return how that ended it.

    A job that succeeded, because the moment passed too fast, is begun again: `begin` removes what it made.
    """
    for _ in range(ATTEMPTS):
        job = begin()
        with suppress(MissedError, ProcessLookupError):
            job.wait_until(lambda: moment(job))  # noqa: B023  # called at once
            job.hurt(who, number)
        ended = job.end()
        if ended.returncode:
            return ended
    raise AssertionError(f"{number.name} to the {who} did not end the job in {ATTEMPTS} attempts")


class Shell:
    """Where a test's commands run: their environment, folder for temporary files, and a prefix such as nsenter."""

    def __init__(self, folder: Path) -> None:
        self.output, self.temporary = folder / "output", folder / "tmp"
        self.output.mkdir(parents=True)
        self.temporary.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        self.prefix: list[str] = []
        self.jobs: list[Job] = []

    def begin(self, *words: object, limit: Callable[[], None] | None = None) -> Job:
        """Start a command: `train`, `freelight`, or a tool, which is run by its path."""
        name, *options = map(str, words)
        program = BIN / name if (BIN / name).exists() else TOOLS / name
        job = Job([*self.prefix, str(program), *options], self.output, self.environment, limit)
        self.jobs.append(job)
        return job

    def run(self, *words: object, limit: Callable[[], None] | None = None) -> Ended:
        """Run a command to its end; none of its processes may stay."""
        return self.begin(*words, limit=limit).end()

    def succeed(self, *words: object) -> Ended:
        """Run a command that must succeed."""
        ended = self.run(*words)
        assert ended.returncode == 0, ended.stderr
        return ended

    def assert_no_leftover(self, *folders: Path) -> None:
        """Fail if `folders` or the folder for temporary files hold anything temporary.

        After SIGKILL, nothing can remove what Python's `tempfile` made, nor the file in which torch keeps the traceback
        of a rank that lost its parent; the system does. torchrun always leaves an empty folder of its own.
        """
        left = [path for folder in folders for path in folder.rglob("*") if path.name.endswith((".tmp", ".partial"))]
        killed = any(job.process.returncode == -signal.SIGKILL for job in self.jobs)
        excused = ("torchelastic_", *(("tmp", "freelight-", "pytorch-errorfile-") if killed else ()))
        left += [path for path in self.temporary.iterdir() if not path.name.startswith(excused)]
        assert not left, f"left behind: {left}"

    def close(self) -> None:
        """Kill what is left of the jobs."""
        for job in self.jobs:
            job.kill_all()


def assert_one_line(ended: Ended, *parts: str | Path, code: int = 2) -> str:
    """Fail unless a command ended with `code` and one line that says why and has all `parts`; return the line."""
    assert ended.returncode == code, ended
    lines = ended.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, ended.stderr
    assert lines[-1] == errors[0], ended.stderr
    assert_no_traceback(ended)
    for part in parts:
        assert str(part) in errors[0], errors[0]
    return errors[0]


def assert_stopped(ended: Ended, number: signal.Signals) -> None:
    """Fail unless the signal ended the command: without a word, or after Ctrl-C with the word that it was aborted.

    After SIGKILL, joblib's tracker of resources outlives the command and warns of what it deletes.
    """
    assert "Traceback" not in ended.stderr, ended.stderr
    if number != signal.SIGKILL:
        assert_no_traceback(ended)
    assert ended.returncode in ((1, 128 + number) if number == signal.SIGINT else (-number, 128 + number)), ended


def assert_no_traceback(ended: Ended) -> None:
    """Fail if the user saw anything that only a programmer reads."""
    for word in ("Traceback", "Exception ignored", "Warning:", "core dumped"):
        assert word not in ended.stderr, ended.stderr


def files(root: Path) -> dict[str, bytes]:
    """Return the content of every file under `root` by its path, except locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """Fail if a file that is in `folders` now is missing or has other bytes at the end of the block."""
    before = [files(folder) if folder.is_dir() else {} for folder in folders]
    yield
    for folder, content in zip(folders, before, strict=True):
        after = files(folder)
        assert {name: after.get(name) == data for name, data in content.items()} == dict.fromkeys(content, True)


Inject = Callable[[str], Any]
