"""The parts that look at the card, run its tests, and measure by `freelight benchmark`."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from freelight.acceptance.datasets import benchmark_shards, dataset, pictures
from freelight.acceptance.session import Session
from freelight.benchmarks.machine import CHECKOUT
from freelight.shards import FreelightError


class Found(NamedTuple):
    """What a part found. figures: for the table, by name. found: the rest."""

    figures: dict[str, str]
    found: dict[str, Any]


MOST_LINES = 40


def smoke(session: Session) -> Found:
    """Print what the card is, and how DALI decodes there."""
    output = session.run(
        "smoke",
        *(sys.executable, "-m", "freelight.acceptance.smoke"),
        *(dataset(session).folder, session.device, session.sizes.width),
        DALI_NVIMGCODEC_LOG_LEVEL="4",
    )
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    decoded, lines = read_decoder_log(output + (session.work / "smoke.err").read_text(errors="replace"))
    figures = {
        "device": found.get("gpu", found["cpu"]),
        **{f"images decoded by {name}": f"{count}" for name, count in decoded.items()},
        **{f"difference to the CPU, {name}, mean": f"{off:.3f} levels" for name, off in found["pixels_off"].items()},
        **{f"three losses, {name}": " ".join(f"{loss:.3f}" for loss in of) for name, of in found["losses"].items()},
    }
    return Found(figures, {**found, "decoder_log": lines})


def read_decoder_log(log: str) -> tuple[Counter[str], list[str]]:
    """Read nvImageCodec's log: the number of images by decoder, and its lines about JPEG decoders with their counts.

    Numbers in a line are replaced by N, so that lines of single images are counted together.
    """
    plain = re.sub(r"\x1b\[[\d;]*m", "", log)
    decoded = Counter(re.findall(r"(\w+_decoder) process #\d+", plain))
    lines = Counter(
        re.sub(r"\b\d+\b", "N", line)
        for line in plain.splitlines()
        if re.search(r"\[nv.*(jpeg|HW|hw_|decode|region|roi)", line) and not re.search(r"egistering|xtension", line)
    )
    return decoded, [f"{count} x {line}" for line, count in lines.most_common(MOST_LINES)]


def gpu_tests(session: Session, *, slow: bool) -> Found:
    """Run the tests that need a card: the first set, or the rest, which is marked `slow` too."""
    if CHECKOUT is None:
        raise FreelightError("the tests are in the source only; run tools/gpu_acceptance from a checkout")
    files = [path for path in sorted((CHECKOUT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    report = session.work.absolute() / f"tests-{slow}.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml", report]
    words += ["-c", CHECKOUT / "setup.cfg", "--rootdir", CHECKOUT, "-m", f"gpu and {'' if slow else 'not '}slow"]
    if find_spec("xdist") and session.device == "cuda":
        words += ["-n", "4", "--dist", "worksteal"]
    session.run(f"tests-{slow}", *words, *files, codes=(0, 1, 5))
    counts, failed = read_junit(report)
    figures = {name: f"{count}" for name, count in counts.items()}
    if failed:
        raise FreelightError(f"{len(failed)} tests failed: {'; '.join(list(failed)[:3])} (see {report})")
    if session.device == "cuda" and not counts["passed"]:
        raise FreelightError(f"no test ran (see {report})")
    return Found(figures, {})


def read_junit(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Read pytest's report: the numbers of tests by outcome, and the first line of each failure."""
    counts, failed = {"passed": 0, "failed": 0, "skipped": 0}, {}
    for case in ElementTree.parse(path).iter("testcase"):
        problems = [problem for kind in ("failure", "error") for problem in case.iter(kind)]
        skipped = case.find("skipped") is not None
        counts["failed" if problems else "skipped" if skipped else "passed"] += 1
        if problems:
            name = f"{case.get('classname')}.{case.get('name')}"
            failed[name] = (problems[0].get("message") or "").partition("\n")[0]
    return counts, failed


def benchmark(name: str) -> Callable[[Session], Found]:
    """Return the part that runs a benchmark. A missed floor is a figure here, no failure."""

    def measure(session: Session) -> Found:
        record_file = session.work / f"benchmark-{name}.json"
        words = [*BENCHMARKS[name](session), "--device", session.device, "--rounds", session.sizes.rounds]
        command = (sys.executable, "-m", "freelight", "benchmark", name, *words, "--record", record_file)
        session.run(f"benchmark-{name}", *command, codes=(0, 1))
        found: dict[str, Any] = json.loads(record_file.read_text())
        return Found(benchmark_figures(found), found)

    return measure


def benchmark_figures(found: dict[str, Any]) -> dict[str, str]:
    """Return the floors and figures of a benchmark's record, and the speed of each contender that was there."""
    figures = {}
    for contender in found["contenders"]:
        if contender["laps"]:
            lap = contender["laps"][-1]
            times = [f"{name} {lap[f'{name}_ms']:.2f} ms" for name in ("device", "host", "wait") if f"{name}_ms" in lap]
            figures[contender["name"]] = "; ".join([f"{contender['median_rate']:,.0f} {found['item']}/s", *times])
    for measured in (*found["figures"], *found["floors"]):
        if measured["value"] is not None:
            verdict = {True: "", False: " (floor MISSED)", None: ""}[measured.get("met")]
            figures[measured["name"]] = f"{measured['value']:.3f} {measured['unit']}{verdict}"
    return figures


def _loader_words(session: Session) -> list[object]:
    words: list[object] = ["--shards", benchmark_shards(session), "--peers", session.work / "none"]
    return [*words, "--batch-size", 16, "--epochs", 1, "--memory-epochs", 6] if session.quick else words


def _free_words(session: Session) -> list[object]:
    words: list[object] = ["--shards", benchmark_shards(session)]
    return [*words, "--batch-size", 2, "--steps", 1] if session.quick else [*words, "--steps", 20]


BENCHMARKS: dict[str, Callable[[Session], list[object]]] = {
    "decode": lambda session: [
        *("--shards", benchmark_shards(session)),
        *(("--decode-threads", 1, "--batch-size", 16) if session.quick else ()),
    ],
    "loader": _loader_words,
    "augment": lambda session: [
        *("--images", pictures(session), "--peers", session.work / "none"),
        *(("--batch-size", 16) if session.quick else ()),
    ],
    "step": lambda session: [
        *("--width", session.sizes.width),
        *(("--batch-size", 4, "--precision", "float32") if session.quick else ()),
    ],
    "free": _free_words,
}
"""The options of each benchmark, beside those that all have."""
