"""A claim stops when its budget ends, continues when started again, and records each part when it ends."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from metric_lines import step_metrics

from freelight.benchmarks.machine import machine_facts
from freelight.claims.session import Session, UnfinishedError
from freelight.claims.training import Run, dropped, short_schedule
from freelight.shards import Dataset, FreelightError
from freelight.train import RECIPES, EpochMetrics, RunFolder
from freelight.train.parallel.signals import StopRequest

PYTHON = [sys.executable, "-c"]
SLEEPS = [*PYTHON, "import time; time.sleep(600)"]
STUBBORN = [*PYTHON, "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]


@contextmanager
def session_in(out: Path, minutes: float | None = None, stop: StopRequest | None = None) -> Iterator[Session]:
    session = Session(out, minutes, stop or StopRequest())
    try:
        yield session
    finally:
        session.close()


def test_a_part_is_done_once_and_its_record_says_by_which_command_and_revision(tmp_path: Path) -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("it was done before")

    with session_in(tmp_path) as session:
        first = session.part("one", ["train", "--seed", "3"], lambda: {"seed": 3}, tmp_path)
    with session_in(tmp_path) as session:
        assert session.part("one", ["train", "--seed", "3"], never, tmp_path) == first
        with pytest.raises(FreelightError, match=r"another command \(train --seed 3, now train --seed 4\); give"):
            session.part("one", ["train", "--seed", "4"], never, tmp_path)
    assert json.loads((tmp_path / "parts" / "one.json").read_text()) == first
    assert (first["command"], first["seed"]) == ("train --seed 3", 3)
    assert first["machine"]["revision"] == machine_facts(())["revision"]


def test_a_part_that_was_recorded_as_a_tools_path_is_not_done_again(tmp_path: Path) -> None:
    """Commands were recorded that way before `freelight` existed."""
    with session_in(tmp_path) as session:
        first = session.part("one", ["tools/compute_pca", "--shards", "D"], dict, tmp_path)
        assert session.part("one", ["freelight", "compute-pca", "--shards", "D"], dict, tmp_path) == first
        with pytest.raises(FreelightError, match="from another command"):
            session.part("one", ["freelight", "compute-pca", "--shards", "E"], dict, tmp_path)


def test_a_part_that_was_done_on_other_data_is_refused(dataset_copy: Dataset, tmp_path: Path) -> None:
    """The dataset was made again in the same place. A record without data is accepted, and so is missing data."""
    folder, record = Path(dataset_copy.folder), tmp_path / "parts" / "one.json"
    with session_in(tmp_path) as session:
        first = session.part("one", ["train"], dict, folder)
        assert first["dataset_fingerprint"] == dataset_copy.fingerprint
        manifest = folder / "dataset.json"
        manifest.write_text(
            manifest.read_text().replace(dataset_copy.manifest.splits["val"].shards[0].sha256, "0" * 64)
        )
        with pytest.raises(FreelightError, match=r"one\.json is from another dataset \(\w{12}; .*; give another `out`"):
            session.part("one", ["train"], dict, folder)
        assert session.part("one", ["train"], dict, tmp_path / "gone") == first
        record.write_text(json.dumps({"command": "train"}))
        assert session.part("one", ["train"], dict, folder) == {"command": "train"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("command", None, r"command \(=None\) must be a string"),
        ("dataset_fingerprint", 7, "dataset_fingerprint .* must be a string"),
        ("epochs", [{"val_top1": 0.5}], r"epochs\[0\].train_top1 is missing"),
        ("diverged", "no", "diverged .* must be true or false"),
    ],
)
def test_a_damaged_record_of_a_part_is_refused(key: str, value: object, message: str, tmp_path: Path) -> None:
    run = Run(name="one", dataset=tmp_path / "data", folder=tmp_path / "run", options=(), seed=0)
    path = tmp_path / "parts" / "one.json"
    record = {"command": " ".join(run.command), "seed": 0, "diverged": False, "epochs": []}
    with session_in(tmp_path) as session:
        for content in (json.dumps({**record, key: value}), "[" * 10**5):
            path.write_text(content)
            with pytest.raises(FreelightError, match=rf"one.json.*({message}|not valid JSON).*; delete it, and"):
                run.part(session, 1)
        path.write_text(json.dumps(record))
        assert run.part(session, 1) == record


@pytest.mark.parametrize("words", [SLEEPS, STUBBORN])
def test_a_process_ends_with_the_budget_to_ten_percent_even_if_it_will_not(words: list[str], tmp_path: Path) -> None:
    """Budget: 3 s. A process that does not stop is killed 8 % later. A busy machine may take 1 s beyond 10 %."""
    with session_in(tmp_path, 0.05) as session:
        session.plan(["one", "two"])
        session.standing = lambda: "one has finished 2 epochs"
        began = time.monotonic()
        with pytest.raises(UnfinishedError):
            session.call(words, tmp_path / "log")
        assert 2.95 <= time.monotonic() - began <= 3.3 + 1
        with pytest.raises(UnfinishedError):
            session.call(words, tmp_path / "log")
        assert re.fullmatch(
            r"the budget is spent after 0.1 minutes: 0 of 2 parts are done, 2 did not fit: one, two "
            r"\(one has finished 2 epochs\); run the same command again to continue",
            session.unfinished(),
        )


def test_a_process_ends_with_its_goal_or_with_a_signal_to_us(tmp_path: Path) -> None:
    stop = StopRequest()
    with session_in(tmp_path, stop=stop) as session:
        began = time.monotonic()
        assert session.call(SLEEPS, tmp_path / "log", until=lambda: time.monotonic() > began + 0.5) == 0
        assert session.call(SLEEPS, tmp_path / "log", until=lambda: True) == 0, "it must not start"
        stop.number = signal.SIGTERM
        with pytest.raises(UnfinishedError):
            session.call(SLEEPS, tmp_path / "log")
        assert re.match(r"stopped by SIGTERM after 0\.\d minutes: 0 of 0 parts are done", session.unfinished())


def test_a_line_from_time_to_time_says_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training writes a line every 30 s into the log, which nobody reads."""
    monkeypatch.setattr("freelight.shards.base.watching.LINE_EVERY", 0.0)
    log = tmp_path / "relu.log"
    with session_in(tmp_path) as session:
        session.plan(["make_shards", "relu"])
        session.done.append("make_shards")
        session.call([*PYTHON, "print('epoch 1', flush=True); import time; time.sleep(0.5)"], log)
    assert "part 2 of 2, relu: epoch 1\n" in capsys.readouterr().err


def test_a_failed_process_is_an_error_with_its_last_line(tmp_path: Path) -> None:
    words = [*PYTHON, "import sys; print('first'); sys.exit('no such thing')"]
    with session_in(tmp_path) as session, pytest.raises(FreelightError, match=r"exit code 1: no such thing \(log"):
        session.must_call(words, tmp_path / "log")


def test_two_do_not_work_in_one_folder_nor_beside_what_a_killed_one_left(tmp_path: Path) -> None:
    with session_in(tmp_path), pytest.raises(FreelightError, match="is in use by another command"):
        Session(tmp_path, None, StopRequest())
    words = [*PYTHON, "import os, sys; os.set_inheritable(int(sys.argv[1]), True); os.execvp('sleep', ['sleep', '60'])"]
    with session_in(tmp_path) as session:
        orphan = subprocess.Popen([*words, str(session._lock)], pass_fds=(session._lock,))
    try:
        with pytest.raises(FreelightError, match="a process that a killed command left"):
            Session(tmp_path, None, StopRequest())
    finally:
        orphan.kill()
        orphan.wait()
    with session_in(tmp_path):
        pass


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=r"`budget` \(=0\) must be a positive number of minutes"):
        Session(tmp_path, 0, StopRequest())


def test_an_epochs_training_error_is_weighed_by_images_and_counts_once_its_validation_is_known(tmp_path: Path) -> None:
    run = Run(name="one", dataset=tmp_path, folder=tmp_path, options=(), seed=0)
    assert run.epochs() == []
    folder = RunFolder(tmp_path)
    folder.write(step_metrics(epoch=0, position=30, train_top1=0.9, images_per_second=10.0))
    folder.write(step_metrics(epoch=0, position=40, train_top1=0.5, images_per_second=5.0))
    folder.write(EpochMetrics(step=2, epoch=0, val_top1=0.7, val_top5=0.2))
    folder.write(step_metrics(epoch=1, position=30, train_top1=0.4, images_per_second=10.0))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "epoch": 1, "va')
    (epoch,) = run.epochs()
    assert epoch.train_top1 == pytest.approx((30 * 0.9 + 10 * 0.5) / 40)
    assert (epoch.val_top1, epoch.val_top5, epoch.images, epoch.seconds) == (0.7, 0.2, 40, 5.0)
    assert run.epochs()[0] is epoch, "it is not read again"
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('l_top1": 0.6, "val_top5": 0.1}\n')
    assert [one.val_top1 for one in run.epochs()] == [0.7, 0.6]


@pytest.mark.parametrize(
    ("epochs", "drops", "said"),
    [
        (1, (1,), "one rate throughout"),
        (3, (3,), "one rate throughout"),
        (4, (3, 4), "rates / 10 after epoch 3"),
        (20, (14, 18), "rates / 10 after epoch 14 and 18"),
    ],
)
def test_a_short_schedule_drops_after_7_and_9_tenths_and_says_when(
    epochs: int, drops: tuple[int, ...], said: str
) -> None:
    _, count, *settings = short_schedule(epochs)
    recipe = RECIPES["paper"].override([f"epochs={count}", *settings[1::2]])
    assert (recipe.epochs, recipe.schedule) == (epochs, "steps")
    assert recipe.drop_epochs == recipe.bias_drop_epochs == drops
    assert dropped(epochs) == said
