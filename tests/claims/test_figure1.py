"""Figure 1: the rate is searched, epochs are counted, seeds are told apart, and nothing is pretended."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from freelight.claims import figure1
from freelight.shards import Dataset

Reproduce = Callable[..., Result]


def falling(command: str) -> list[float | None]:
    """ReLU is best at .001, with 25 % in epoch 5; tanh at .009, beyond the given rates; higher rates diverge."""
    rate = float(re.findall(r" learning_rate=([\d.e-]+)", command)[0])
    if rate > 0.02:
        return [0.9, None]
    if "activation=tanh" in command:
        return [0.9 - 0.02 * epoch - (rate if rate < 0.01 else 0) for epoch in range(60)]
    return [0.84 - 0.15 * epoch + 50 * abs(rate - 0.001) for epoch in range(60)]


def test_figure_1_searches_a_rate_for_each_and_counts_epochs_to_25_percent(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    pretended.curve = falling
    words = ("--data", small, "--out", tmp_path, "--max-epochs", "60")
    result = reproduce(figure1.command, *words)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "figure1.json").read_text())
    assert list(record["figures"]["search"]["relu"]) == ["0.0003", "0.001", "0.003"], "the best lies inside"
    assert list(record["figures"]["search"]["tanh"]) == ["0.0003", "0.001", "0.003", "0.009", "0.03"]
    assert record["figures"]["search"]["tanh"]["0.03"] == 1.0, "it diverged"
    relu, tanh = 4 + (0.39 - 0.25) / 0.15, 33 + (0.251 - 0.25) / 0.02
    assert record["figures"]["epochs_to_target"]["relu"] == [pytest.approx(relu)]
    assert record["figures"]["epochs_to_target"]["tanh"] == [pytest.approx(tanh)]
    assert record["figures"]["ratio"] == [pytest.approx(tanh / relu)]
    assert len(record["figures"]["train_top1"]["relu"][0]) == 5, "it was stopped at the target"
    assert re.search(rf"^tanh / ReLU +6 +{tanh / relu:.2f}  \+{tanh / relu - 6:.2f}$", result.stdout, re.MULTILINE)
    assert [part["part"] for part in record["parts"]][-2:] == ["final-relu", "final-tanh"]
    for part in record["parts"]:
        assert part["seed"] == 0
        assert part["dataset_fingerprint"] == Dataset(small).fingerprint
        assert re.match(r"train --shards .* --seed 0 ", part["command"])
    with Image.open(tmp_path / "figure1.png") as picture:
        assert picture.width > 900
    trained = len(pretended.commands)
    assert reproduce(figure1.command, *words).stdout == result.stdout
    assert len(pretended.commands) == trained, "nothing is trained again"


def test_figure_1_goes_on_after_any_epoch_to_the_same_figures(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    pretended.curve = falling
    whole = reproduce(figure1.command, "--data", small, "--out", tmp_path / "whole", "--max-epochs", "60")
    words = ("--data", small, "--out", tmp_path / "parts", "--max-epochs", "60")
    for _ in range(100):
        pretended.epochs_left = 4
        result = reproduce(figure1.command, *words, "--budget", "10")
        if result.exit_code == 0:
            break
        assert result.exit_code == 1, result.output
        assert re.search(r"did not fit: .*\((relu|tanh)-[\d.]+ has finished \d+ of at most \d+ epochs\)", result.stdout)
    assert unquoted(result.stdout) == unquoted(whole.stdout)
    assert re.search(r"not quoted, (resumed|other work) \(relu-0\.001\)", result.stdout)


def unquoted(output: str) -> str:
    """Leave out the speeds: those of a resumed run are not quoted."""
    return re.sub("seconds per epoch: .*", "", output)


def test_figure_1_takes_several_seeds_and_gives_tanh_up_at_12_times_relus_epochs(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    def curve(command: str) -> list[float | None]:
        slower = 0.03 if "--seed 1 " in command else 0
        if "activation=tanh" in command and slower:
            return [0.5] * 100
        return [error + slower if error else error for error in falling(command)]

    pretended.curve = curve
    words = ("--data", small, "--out", tmp_path, "--max-epochs", "70", "--seeds", "2")
    result = reproduce(figure1.command, *words)
    record = json.loads((tmp_path / "figure1.json").read_text())
    (first, second), (tanh, given_up) = (record["figures"]["epochs_to_target"][name] for name in ("relu", "tanh"))
    assert first < second
    assert given_up is None
    epochs = math.ceil(12 * second)
    assert record["figures"]["ratio_at_least"] == [None, pytest.approx(epochs / second)]
    assert re.search(
        rf"^tanh / ReLU +6 +{tanh / first:.2f}, more than {epochs / second:.2f}$", result.stdout, re.MULTILINE
    )
    assert [part["seed"] for part in record["parts"] if part["part"].startswith("final")] == [0, 0, 1, 1]
    assert str(tmp_path) not in json.dumps(record), "no folder of this machine"


def test_figure_1_gives_the_factor_over_seeds_with_its_interval(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    """The geometric mean; t of two degrees of freedom is 4.303 at 95 %."""

    def curve(command: str) -> list[float | None]:
        slower = 0.02 * int(re.findall(r"--seed (\d) ", command)[0]) if "activation=tanh" in command else 0
        return [error + slower if error else error for error in falling(command)]

    pretended.curve = curve
    result = reproduce(figure1.command, "--data", small, "--out", tmp_path, "--max-epochs", "60", "--seeds", "3")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figure1.json").read_text())["figures"]
    logs = [math.log(tanh / relu) for relu, tanh in zip(*figures["epochs_to_target"].values(), strict=True)]
    margin = 4.303 * stdev(logs) / math.sqrt(3)
    interval = f"{math.exp(mean(logs) - margin):.2f}..{math.exp(mean(logs) + margin):.2f}"
    factor = f"tanh / ReLU: {math.exp(mean(logs)):.2f} (geometric mean) over 3 seeds, 95 % interval {interval} over"
    assert factor in result.stdout
    assert re.search(r"; 1\.\d\d or more would be found with 80 % power, the paper's 6 with 2 seeds$", result.stdout)


def test_figure_1_does_not_pretend_that_a_target_was_reached(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    pretended.curve = falling
    result = reproduce(figure1.command, "--data", small, "--out", tmp_path, "--max-epochs", "20")
    assert re.search(r"^relu, .* 5-6 +4\.9  -0\.1$", result.stdout, re.MULTILINE), "5 are the nearer of 5-6"
    assert re.search(r"^tanh, .* about 36 +not reached, 51.1% after 20$", result.stdout, re.MULTILINE)
    assert re.search(r"^tanh / ReLU +6 +more than 4\.\d\d$", result.stdout, re.MULTILINE)
    assert figure1.crossing([0.5, 0.3]) is None
    assert figure1.crossing([0.5, 0.0]) == 1.5
    assert figure1.crossing([]) is None


def test_figure_1_says_that_a_run_diverged_and_draws_no_bound_from_it(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    def curve(command: str) -> list[float | None]:
        errors = falling(command)
        return [*errors[:4], None] if "activation=tanh" in command else errors

    pretended.curve = curve
    result = reproduce(figure1.command, "--data", small, "--out", tmp_path, "--max-epochs", "20")
    assert re.search(r"^tanh, .* about 36 +diverged after 4$", result.stdout, re.MULTILINE)
    assert re.search(r"^tanh / ReLU +6 +unknown$", result.stdout, re.MULTILINE)
    figures = json.loads((tmp_path / "figure1.json").read_text())["figures"]
    assert (figures["ratio"], figures["ratio_at_least"]) == ([None], [None])
    assert figures["diverged"] == {"relu": [False], "tanh": [True]}


def test_figure_1_refuses_a_longer_search_than_was_made(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    pretended.curve = falling
    words = ("--data", small, "--out", tmp_path, "--max-epochs", "60")
    assert reproduce(figure1.command, *words, "--search-epochs", "2").exit_code == 0
    result = reproduce(figure1.command, *words, "--search-epochs", "4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "had 2; give 2, or another --out" in result.stderr


@pytest.mark.parametrize("rates", ["0.1,0.2", "a,b,c", "0,1,2"])
def test_figure_1_wants_three_rates(rates: str, small: Path, reproduce: Reproduce, tmp_path: Path) -> None:
    assert reproduce(figure1.command, "--data", small, "--out", tmp_path, "--rates", rates).exit_code == 2


@pytest.mark.slow
def test_figure_1_as_typed_on_drawn_pictures_is_interrupted_and_goes_on(pictures: Path, tmp_path: Path) -> None:
    """By path, with only train/ and test/, as in CIFAR-10; the budget stops it early, and no part is lost."""
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (data / "train").symlink_to(pictures / "train")
    (data / "test").symlink_to(pictures / "val")
    program = str(Path(figure1.__file__).parents[2] / "reproduce")
    words = [sys.executable, program, "figure1", "--data", str(data), "--out", str(out)]
    words += ["--search-epochs", "1", "--max-epochs", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def typed(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more], env=environment, capture_output=True, text=True, check=False)

    first = typed("--budget", "0.15")
    assert first.returncode == 1, first.stderr
    assert "the budget is spent after 0." in first.stdout
    kept = {path.name: path.read_bytes() for path in (out / "parts").glob("*.json")}
    last = typed()
    assert last.returncode == 0, last.stderr
    assert all((out / "parts" / name).read_bytes() == data for name, data in kept.items())
    record = json.loads((out / "figure1.json").read_text())
    assert all(len(errors) == 2 for (errors,) in record["figures"]["train_top1"].values())
    assert "60 train, 20 val images of 10 classes, 32 pixels" in last.stdout
