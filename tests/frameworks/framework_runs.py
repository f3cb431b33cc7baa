"""Runs of an example inside its framework, with the samples that its loaders handed out."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PACKAGES = Path(sysconfig.get_path("purelib"))
"""The folder of this environment's packages."""
RECORDED = Path(__file__).with_name("recorded.py")
Place = tuple[str, int, int]
"""Split, epoch, and position before a batch."""


@dataclass
class Ended:
    """How a run ended: exit status, output, and the samples of each batch, all ranks together, sorted."""

    status: int
    output: str
    batches: dict[Place, list[int]]

    def epoch(self, number: int, split: str = "train") -> list[int]:
        """Return the samples of an epoch, sorted."""
        return sorted(
            sample for place, samples in self.batches.items() if place[:2] == (split, number) for sample in samples
        )

    def numbers(self, pattern: str) -> list[float]:
        """Return the numbers that `pattern` finds in the output."""
        return [float(number) for number in re.findall(pattern, self.output)]


def run(
    example: str,
    *arguments: str | Path,
    notes: Path,
    processes: int = 0,
    kill: Place | None = None,
    python: Path | None = None,
) -> Ended:
    """Run an example; under torchrun if `processes` is given. kill: the batch at which rank 0 is killed.

    python: of another environment, to which this one's packages are added.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    if kill is not None:
        environment["KILL"] = " ".join(map(str, kill))
    notes.mkdir()
    words = [str(RECORDED), str(notes), str(EXAMPLES / example), *map(str, arguments)]
    if python is not None:
        environment["PACKAGES"] = str(PACKAGES)
    command = [str(python or sys.executable), *launcher, *words]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=notes.parent
    )
    batches: dict[Place, list[int]] = defaultdict(list)
    for path in notes.iterdir():
        for line in path.read_text().splitlines():
            split, epoch, position, *samples = line.split()
            batches[split, int(epoch), int(position)] += map(int, samples)
    found = {place: sorted(samples) for place, samples in batches.items()}
    return Ended(ended.returncode, ended.stdout + ended.stderr, found)


def run_killed_and_resumed(
    example: str, *arguments: str | Path, notes: Path, kill: Place, processes: int = 0, python: Path | None = None
) -> dict[Place, list[int]]:
    """Kill a run at a batch, run it again, and return what both saw; the first up to the batch at which it was killed.

    (Other ranks may have asked for that batch before they were ended.)
    """
    notes.mkdir()
    first = run(example, *arguments, notes=notes / "killed", processes=processes, kill=kill, python=python)
    assert first.status == (1 if processes else -signal.SIGKILL), first.output
    again = run(example, *arguments, notes=notes / "resumed", processes=processes, python=python)
    assert again.status == 0, again.output
    before = {
        place: samples for place, samples in first.batches.items() if place[0] == kill[0] and place[1:] < kill[1:]
    }
    overlap = before.keys() & again.batches.keys()
    assert not overlap, f"the resumed run saw {sorted(overlap)} again"
    return {**before, **again.batches}
