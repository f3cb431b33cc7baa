"""The parts of the acceptance, in the order of what is learnt per minute, and their run within a time limit."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from freelight.acceptance.measuring import Found, benchmark, gpu_tests, smoke
from freelight.acceptance.results import Result, Results
from freelight.acceptance.session import OutOfTimeError, Session
from freelight.acceptance.training import columns, resume, train_in
from freelight.benchmarks.step import PRECISIONS
from freelight.shards import FreelightError
from freelight.shards.base import say


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part. minutes: that it may take on a card; it is not begun with less time left."""

    name: str
    minutes: float
    work: Callable[[Session], Found]


PARTS = (
    Part(name="smoke", minutes=1.5, work=smoke),
    Part(name="tests", minutes=3, work=partial(gpu_tests, slow=False)),
    Part(name="decode", minutes=1.5, work=benchmark("decode")),
    Part(name="loader", minutes=3, work=benchmark("loader")),
    Part(name="step", minutes=2, work=benchmark("step")),
    *(Part(name=f"train-{precision}", minutes=2, work=train_in(precision)) for precision in PRECISIONS),
    Part(name="resume", minutes=2, work=resume),
    Part(name="columns", minutes=2, work=columns),
    Part(name="free", minutes=1.5, work=benchmark("free")),
    Part(name="augment", minutes=4, work=benchmark("augment")),
    Part(name="tests-rest", minutes=5, work=partial(gpu_tests, slow=True)),
)


def run_parts(session: Session) -> Results:
    """Do what is not finished yet, as far as the time allows: parts that failed before come last."""
    results = Results(session.out, device=session.device, quick=session.quick)
    before = {part.name: results.load(part.name) for part in PARTS}
    todo = [part for part in PARTS if before[part.name] is None]
    todo += [part for part in PARTS if (result := before[part.name]) and not result.passed]
    for part in todo:
        if not session.quick and session.seconds_left < 60 * part.minutes:
            say(f"{part.name}: not begun, {session.seconds_left:.0f} s are left")
            continue
        say(f"{part.name} ...")
        try:
            result = _finish(part, session)
        except OutOfTimeError:
            say(f"{part.name}: not finished when the time was over")
            break
        results.save(result)
        say(f"{part.name}: {'passed' if result.passed else f'FAILED: {result.reason}'}, {result.seconds:.0f} s")
    return results


def _finish(part: Part, session: Session) -> Result:
    """Do a part. An error of any kind makes it a failed one, so that the parts after it still run."""
    start, reason, found = time.monotonic(), "", Found({}, {})
    try:
        found = part.work(session)
    except OutOfTimeError:
        raise
    except FreelightError as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        found = Found({}, {"traceback": traceback.format_exc()})
    seconds = round(time.monotonic() - start, 1)
    return Result(part=part.name, passed=not reason, seconds=seconds, reason=reason, **found._asdict())
