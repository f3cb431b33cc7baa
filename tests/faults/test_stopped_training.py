"""`train` whose command or rank gets a signal: the same command ends with the weights of an undisturbed run."""

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Inject, Job, Shell, assert_no_traceback, assert_one_line, stop
from runs import STEPS, assert_same_run, metrics, training


def moment_of(stage: str, rng: random.Random, out: Path) -> Callable[[], object]:
    """Return a moment within a stage of the run, drawn anew for every test."""
    step = rng.randrange(1, STEPS - 3)

    def reached() -> bool:
        return len(metrics(out)) >= step

    if stage == "a step":
        return reached
    if stage == "a save":
        return lambda: reached() and list(out.glob("step-*.pt.*.tmp"))
    saved = out / f"step-{STEPS:08d}.pt"
    return lambda: saved.exists() and saved.stat().st_nlink == 2 and len(metrics(out)) == STEPS


@pytest.mark.parametrize("stage", ["a step", "a save", "the validation"])
@pytest.mark.parametrize(
    ("columns", "who", "number"),
    [
        (1, "command", signal.SIGKILL),
        (1, "command", signal.SIGTERM),
        (1, "group", signal.SIGINT),
        (2, "command", signal.SIGKILL),
        (2, "command", signal.SIGTERM),
        (2, "group", signal.SIGINT),
        (2, "rank 0", signal.SIGKILL),
        (2, "rank 1", signal.SIGKILL),
        (2, "rank 1", signal.SIGTERM),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    columns: int,
    who: str,
    number: signal.Signals,
    stage: str,
    made: Path,
    trained: Callable[[int], Path],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    whole, out = trained(columns), tmp_path / "run"
    moment = moment_of(stage, random.Random(f"{columns}{who}{number}{stage}"), out)

    def begin() -> Job:
        shutil.rmtree(out, ignore_errors=True)
        return shell.begin(*training(made, out, columns))

    ended = stop(begin, lambda job: moment(), who, number)
    inject(f"{number.name} to the {who} of train during {stage}")
    if number != signal.SIGKILL:  # asked to stop, it saves the next step
        assert ended.returncode == 128 + number, ended
        assert_no_traceback(ended)
        assert "which is saved" in ended.stdout
    elif who == "command":
        assert ended.returncode == -number
    else:
        assert_one_line(ended, f"{who} ended", "run the same command again to resume from the last checkpoint")
    shell.succeed(*training(made, out, columns))
    assert_same_run(out, whole)
    shell.assert_no_leftover(out)
