"""What a command may do with a hostile file: succeed, or refuse it with one line. Everything else is a failure."""

import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import Case, prepare
from forkserver import ForkServer
from kinds import COMMANDS, KINDS

MEGABYTES = 1300
"""Peak memory of a command, of which the libraries take 300 MB."""
DECODERS = re.compile(
    r"Corrupt JPEG data: |Premature end of JPEG|Bogus |Invalid |Unsupported |Empty JPEG|Huffman table 0x|"
    r"Quantization table 0x|Warning: unknown JFIF|\x1b\[0;31m\[ERROR\] \x1b\[0m\[(jpeg_parser|libjpeg_turbo_decoder)\]"
)
"""Lines that libjpeg and DALI's nvImageCodec print about a sample with damaged pixels and right checksums.

They cannot be turned off.
"""
INFORMATION = re.compile(r"(threads|workers): \d+.*|.+: [\d,]+( of [\d,]+)?, \d+/s(, .+ left)?")
"""Lines that sound work prints too: how many processes it uses, and how far it is."""
DECODED_AGAIN = re.compile(r"stored pixels of \d+ samples? are damaged: .+; they are decoded again")
"""The warning about damaged pixels in a store of decoded pixels, which training replaces from the shards."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
NOT_FINITE = re.compile(r"(?<![\w.+-])[-+]?(nan|inf)\b", re.IGNORECASE)

State = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Outcome:
    """code: exit code. fault: what was wrong with the command's behaviour; "" if nothing. output: its last lines."""

    code: int
    fault: str
    output: str

    def signature(self, case: Case) -> str:
        """The fault without values, and the last place in our code that a traceback names, or the command."""
        places = re.findall(r'File ".*?/((?:shards|pipeline|train|tools)/[^"]*", line \d+)', self.output)
        fault = re.split("[:'0-9]", self.fault)[0]
        return f"{fault} {places[-1] if places else case['command']}"


def try_case(case: Case, corpus: Path, folder: Path, server: ForkServer, *, executed: bool) -> Outcome:
    """Run a case in `folder`, which is emptied first. executed: as `"exec"` of the server's requests."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("in", "out", "home", "tmp", "outside"):
        (folder / name).mkdir(parents=True)
    changed = prepare(case, corpus, folder)
    command = COMMANDS[case["command"]]
    before = _state(folder)
    files = {name: str(folder.parent / f"{folder.name}.{name}") for name in ("stdout", "stderr")}
    result = server.run(
        {
            "argv": command.line.replace("{in}", str(folder / "in")).split(),
            "cwd": str(folder / "in"),
            "env": {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")},
            "exec": executed,
            **files,
        }
    )
    texts = {name: Path(path).read_text(errors="replace") for name, path in files.items()}
    missed = changed and command.reports and KINDS[case["kind"]].sealed and not case["corrected"]
    fault = _fault(case, result, texts["stdout"], texts["stderr"], missed=missed)
    fault = fault or _trespass(before, _state(folder), ("out", *(f"in/{name}" for name in command.writes)))
    return Outcome(result["code"], fault, "\n".join((texts["stdout"] + texts["stderr"]).splitlines()[-25:])[-3000:])


def _fault(case: Case, result: dict[str, Any], stdout: str, stderr: str, *, missed: bool) -> str:
    """Return what is wrong with the way in which a command ended. missed: a success would have missed damage."""
    if case["kind"] in ("shard", "tars to index", "indexed tars"):
        stderr = "\n".join(line for line in stderr.splitlines() if not DECODERS.match(line))
    if case["kind"] == "decoded pixels":
        stderr = "\n".join(line for line in stderr.splitlines() if not DECODED_AGAIN.fullmatch(line))
    code, lines = result["code"], [line for line in stderr.splitlines() if line and not INFORMATION.fullmatch(line)]
    if code == -signal.SIGALRM:
        return "did not end in time"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    if "Traceback (most recent call last)" in stderr:
        return f"traceback: {lines[-1]}"
    if result["megabytes"] > MEGABYTES:
        return f"took {result['megabytes']:.0f} MB of memory"
    if found := CONTROL.search(stdout + stderr):
        return f"printed the control character {found[0]!r}"
    if code == 0 or (code == 1 and COMMANDS[case["command"]].reports):
        if lines:
            return f"printed on stderr: {lines[0]}"
        if code == 0 and missed:
            return "found nothing, although a file was changed"
        if code == 0 and (found := NOT_FINITE.search(stdout)):
            return f"printed {found[0]}"
        return ""
    if code != 2:
        return f"ended with exit code {code}"
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return f"printed {len(lines)} lines on stderr, not one error"
    return ""


def _state(folder: Path) -> State:
    """Return size, modification time and inode of every file below `folder`, and of the files beside it."""
    found: State = {}
    for root, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(root, name))
            found[os.path.relpath(os.path.join(root, name), folder)] = (
                status.st_size,
                status.st_mtime_ns,
                status.st_ino,
            )
    return found


def _trespass(before: State, after: State, allowed: tuple[str, ...]) -> str:
    """Return which file was written, changed or deleted outside the folders of the command's results."""
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path) and not any(
            path == name or path.startswith(f"{name}/") for name in allowed
        ):
            done = "wrote" if path not in before else "deleted" if path not in after else "changed"
            return f"{done} {path}, which is no result"
    return ""
