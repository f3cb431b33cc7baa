"""No file that the product reads, however damaged or hostile, ends in a traceback, a signal, a hang or a stray file.

`make fuzz` edits sound files of every kind and runs the installed commands on them. Hypothesis draws the edits; the
seed is printed, and `FUZZ_SEED` repeats it. `FUZZ_SECONDS` (300) is the time, `FUZZ_JOBS` (2) the number of processes,
`FUZZ_KINDS` the kinds of files, separated by commas, where not all. A failing case is printed as JSON:
`FUZZ_REPLAY='{...}' make fuzz` runs it again.

How a command runs: a server process imports the commands once and forks a child for each case. The child runs the
installed script (`bin/freelight` or `bin/train`) as its main program, with a limit of memory and an alarm of 20 s. Each
`EXECUTED`th case, and the first case of each fault, runs as a typed command instead: the child executes the script.

What may happen: success, without NaN in what is printed; or one line on stderr and exit code 2; for a verification also
exit code 1. A damaged JPEG in a shard may add lines of libjpeg's own. Nothing is written beside the results. At least
half of the edits come with right hashes and sizes, so that they pass the checksums.

`regressions.jsonl` holds cases that once failed. They also run with the slow tests.
"""

import itertools
import json
import os
import queue
import random
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cases import Case, draw_cases, passes_checksums
from corpus import Corpus
from edits import NotApplicableError
from forkserver import ForkServer
from judging import Outcome, try_case
from kinds import KINDS

BATCH, EXECUTED = 8, 25
REGRESSIONS = Path(__file__).with_name("regressions.jsonl")


Failures = dict[str, list[tuple[Case, Outcome]]]
"""Failed cases by `Outcome.signature`."""


class Fuzzer:
    """Runs cases on several servers, and counts the outcomes by kind."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.corpus = folder / "corpus"
        self.corpus.mkdir()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: Failures = {}
        self._servers = [ForkServer() for _ in range(jobs)]
        Corpus(self.corpus, self._servers[0])
        self._free: queue.Queue[int] = queue.Queue()
        for number in range(jobs):
            self._free.put(number)
        self._threads = ThreadPoolExecutor(jobs)

    def close(self) -> None:
        self._threads.shutdown()
        for server in self._servers:
            server.close()

    def run(self, cases: list[Case], *, first: int = 0) -> None:
        """Run cases. first: number of the first one."""
        list(self._threads.map(self._count, cases, itertools.count(first)))

    def try_case(self, case: Case, *, executed: bool) -> Outcome:
        number = self._free.get()
        try:
            return try_case(case, self.corpus, self.folder / str(number), self._servers[number], executed=executed)
        finally:
            self._free.put(number)

    def _count(self, case: Case, number: int) -> None:
        kind, executed = case["kind"], number % EXECUTED == EXECUTED - 1
        try:
            outcome = self.try_case(case, executed=executed)
            if outcome.fault and not executed and outcome.signature(case) not in self.failures:
                forked, outcome = outcome, self.try_case(case, executed=True)
                if not outcome.fault:
                    outcome = replace(forked, fault=f"in a forked child only: {forked.fault}")
        except NotApplicableError:
            self.counts[kind, "skipped"] += 1
            return
        self.counts[kind, "inputs"] += 1
        self.counts[kind, "executed"] += executed
        self.counts[kind, "corrected"] += passes_checksums(case)
        self.counts[kind, "failures" if outcome.fault else "refusals" if outcome.code else "successes"] += 1
        if outcome.fault:
            self.failures.setdefault(outcome.signature(case), []).append((case, outcome))

    def summary(self) -> Iterator[str]:
        columns = ("inputs", "corrected", "executed", "successes", "refusals", "failures", "skipped")
        yield f"{'kind':22}" + "".join(f"{name:>11}" for name in columns)
        totals = Counter[str]()
        for kind in KINDS:
            counts = {name: self.counts[kind, name] for name in columns}
            totals.update(counts)
            yield f"{kind:22}" + "".join(f"{counts[name]:11}" for name in columns)
        yield f"{'all':22}" + "".join(f"{totals[name]:11}" for name in columns)


def report(failures: Failures) -> str:
    """Return the first case of each fault with its command's output, and the commands that repeat two more."""
    lines = []
    for found in failures.values():
        case, outcome = found[0]
        lines += [
            "",
            f"{len(found)} times, first {case['kind']}, command {case['command']!r}: {outcome.fault}",
            outcome.output,
        ]
        lines += [f"FUZZ_REPLAY={shlex.quote(json.dumps(case))} make fuzz" for case, _ in found[:3]]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    with tempfile.TemporaryDirectory(prefix="freelight-fuzz-") as folder:
        made = Fuzzer(Path(folder), int(os.environ.get("FUZZ_JOBS", "2")))
        yield made
        made.close()


@pytest.mark.slow
def test_cases_that_once_failed_are_refused(fuzzer: Fuzzer) -> None:
    cases = [json.loads(line) for line in REGRESSIONS.read_text().splitlines()]
    fuzzer.run(cases)
    assert not fuzzer.failures, report(fuzzer.failures)
    assert sum(count for (_, name), count in fuzzer.counts.items() if name == "inputs") == len(cases)
    fuzzer.counts.clear()


@pytest.mark.fuzz
def test_every_edited_file_is_read_or_refused(fuzzer: Fuzzer, capsys: pytest.CaptureFixture[str]) -> None:
    fuzzer.failures.clear()
    if "FUZZ_REPLAY" in os.environ:
        case = json.loads(os.environ["FUZZ_REPLAY"])
        outcomes = [fuzzer.try_case(case, executed=executed) for executed in (False, True)]
        with capsys.disabled():
            for outcome in outcomes:
                print(f"\nexit code {outcome.code}; fault: {outcome.fault or 'none'}\n{outcome.output}")
        assert not any(outcome.fault for outcome in outcomes)
        return
    seed = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))
    seconds = float(os.environ.get("FUZZ_SECONDS", "300"))
    with capsys.disabled():
        print(f"\nFUZZ_SEED={seed}, {seconds:g} s")
    end, number, seen = time.monotonic() + seconds, 0, set[str]()
    wanted = os.environ.get("FUZZ_KINDS", ",".join(KINDS)).split(",")
    kinds = [kind for kind in wanted for _ in range(KINDS[kind].weight)]
    random.Random(seed).shuffle(kinds)
    for batch, kind in enumerate(itertools.cycle(kinds)):
        if time.monotonic() > end:
            break
        drawn = {json.dumps(case): case for case in draw_cases(kind, fuzzer.corpus, BATCH, f"{seed} {batch}")}
        cases = [case for text, case in drawn.items() if text not in seen]
        seen |= drawn.keys()
        fuzzer.run(cases, first=number)
        number += len(cases)
    with capsys.disabled():
        print("\n".join(fuzzer.summary()))
    assert not fuzzer.failures, report(fuzzer.failures)
