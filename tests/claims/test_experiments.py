"""The experiments compute what they state, share runs, resume after an interruption, and detect noise."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from miniatures import cifar_binary, cifar_pickled, draw_cifar, write_cifar
from PIL import Image
from scipy import stats

from freelight.claims import ablation, figure1, free, lrn_cifar
from freelight.claims.pairs import Pairs
from freelight.claims.session import Session
from freelight.shards import Dataset, ShardSettings, compute_statistics, list_images, make_shards
from freelight.shards.images import Rescaling
from freelight.train import RECIPES
from freelight.train.describe import describe

Reproduce = Callable[..., Result]


@pytest.fixture(scope="session")
def small(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures at 32 pixels, as CIFAR-10's are."""
    folder = tmp_path_factory.mktemp("made") / "small"
    make_shards(list_images(pictures), folder, ShardSettings(rescaling=Rescaling(size=32), samples_per_shard=100))
    compute_statistics(Dataset(folder)).save(folder)
    return folder


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


def pairs_of(base: Sequence[float | None], other: Sequence[float | None], images: int = 1000) -> Pairs:
    return Pairs(names=("with", "without"), base=base, other=other, images=images, split="val")


def test_pairs_give_the_mean_difference_its_standard_error_and_students_interval() -> None:
    """Against the formulas; t of two degrees of freedom is 4.303 at 95 %."""
    pairs = pairs_of([0.10, 0.12, 0.14], [0.13, 0.14, 0.18])
    differences = [3.0, 2.0, 4.0]
    assert pairs.differences == pytest.approx(differences)
    error = stdev(differences) / math.sqrt(3)
    assert pairs.standard_error == pytest.approx(error)
    assert pairs.margin == pytest.approx(4.303 * error, rel=1e-3)
    assert pairs.within_noise is False
    assert (
        pairs.verdict()
        == "+3.00 +- 0.58 points (standard error) over 3 seeds, 95 % interval +0.52..+5.48 over seeds alone, on these "
        "1,000 val images: more than noise; 3.26 points or more would be found with 80 % power"
    )
    assert pairs.less(2) == "+1.00"
    assert ": within noise; " in pairs_of([0.10, 0.12, 0.14], [0.10, 0.13, 0.18]).verdict()
    assert "is unknown" in pairs_of([0.1], [0.2]).verdict()


def test_pairs_say_which_effect_would_be_found_four_times_in_five() -> None:
    """Against experiments drawn with that effect, and the noise that the pairs show."""
    pairs = pairs_of([0.10, 0.12, 0.14], [0.13, 0.14, 0.18])
    assert pairs.detectable is not None
    drawn = np.random.default_rng(0).normal(pairs.detectable, stdev(pairs.differences), (40_000, 3))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert pairs.seeds_for(1.001 * pairs.detectable) == 3
    needed = pairs.seeds_for(0.7)
    drawn = np.random.default_rng(0).normal(0.7, stdev(pairs.differences), (10_000, needed))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)
    assert pairs.verdict(0.7).endswith(f", the paper's +0.7 with {needed} seeds")
    assert pairs.verdict(0.001).endswith(", the paper's +0.001 with more than 10,000 seeds")
    assert pairs_of([0.1], [0.2]).detectable is None


def test_pairs_that_differ_by_less_than_an_image_do_not_show_the_noise() -> None:
    """Two equal differences have no spread; one image of 200 is 0.5 points."""
    assert pairs_of([0.1, 0.1], [0.105, 0.105], images=200).within_noise is None
    assert pairs_of([0.1, 0.1], [0.105, 0.111], images=200).verdict().endswith("the size of the noise is unknown")
    assert pairs_of([0.1, 0.1], [0.105, 0.115], images=200).within_noise is True


def test_a_pair_of_which_one_diverged_is_left_out() -> None:
    pairs = pairs_of([0.10, None, 0.14], [0.13, 0.14, 0.18])
    assert pairs.differences == pytest.approx([3.0, 4.0])
    assert pairs.table()[-1][:3] == ("mean", "12.00", "15.50")
    assert pairs.verdict().endswith("; diverged and left out, with the other run of the pair: with at seed 1")
    assert pairs_of([None], [0.1]).less(2) == ""


@pytest.mark.parametrize(("name", "measure"), [("half", 1 / 2), ("no-decay", 1)])
def test_an_ablation_pairs_runs_of_one_seed(
    name: str, measure: float, dataset: Dataset, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    """Ablations in one folder share the baseline; weight decay is measured by training error, as in the paper."""
    bases, others = [0.30, 0.34, 0.32], [0.36, 0.38, 0.36]

    def curve(command: str) -> list[float]:
        seed = int(re.findall(r"--seed (\d)", command)[0])
        return [0.9, bases[seed] if "baseline" in command else others[seed]]

    pretended.curve = curve
    words = ("--data", dataset.folder, "--out", tmp_path, "--width", "0.25", "--epochs", "2", "--set", "batch_size=64")
    result = reproduce(ablation.command, name, *words, "--columns", "2")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / f"ablation-{name}.json").read_text())
    assert record["figures"]["pairs"]["mean"] == pytest.approx(100 * measure * (mean(others) - mean(bases)))
    assert record["figures"]["baseline"] == pytest.approx([measure * base for base in bases])
    assert re.search(r"^0 .*\n1 .*\n2 .*\nmean ", result.stdout, re.MULTILINE)
    assert "--width 0.25 --epochs 2" in result.stdout
    assert len({part["seed"] for part in record["parts"]}) == 3
    assert len(pretended.commands) == 6
    reproduce(ablation.command, "no-lighting", *words, "--columns", "2")
    assert len(pretended.commands) == 9, "the three of the baseline were there"


@pytest.mark.parametrize("name", ablation.ABLATIONS)
def test_every_ablation_is_settings_that_train_takes_and_that_change_something(name: str) -> None:
    changed = RECIPES["paper"].override(ablation.ABLATIONS[name].settings)
    assert changed != RECIPES["paper"]
    assert "parameters in" in describe(changed, 10)


def test_zero_biases_are_compared_by_the_first_epoch(
    dataset: Dataset, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    """The paper says that learning is slower at first."""
    pretended.curve = lambda command: [0.9 if "initial_bias=0" in command else 0.8, 0.5]
    words = ("--data", dataset.folder, "--out", tmp_path, "--epochs", "2")
    result = reproduce(ablation.command, "zero-biases", *words)
    assert re.search(r"^zero-biases, training error .*no figure  \+10\.00 ", result.stdout, re.MULTILINE)
    assert "training error: top-1, mean over the first epoch" in result.stdout


def test_an_ablation_leaves_out_a_pair_that_diverged_and_goes_on(
    dataset: Dataset, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    def curve(command: str) -> list[float | None]:
        last = 0.1 * int(re.findall(r"--seed (\d)", command)[0]) + (0.2 if "half" in command else 0.1)
        return [0.9, None if "half-seed1" in command else last]

    pretended.curve = curve
    words = ("half", "--data", dataset.folder, "--out", tmp_path, "--epochs", "2")
    result = reproduce(ablation.command, *words)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("diverged and left out, with the other run of the pair: half at seed 1") == 2
    assert "half at seed 1" in result.stdout.splitlines()[-1]
    assert re.search(r"^1 +10\.00 +diverged +left out$", result.stdout, re.MULTILINE)
    assert re.search(r"^half, val error +\+1\.7 .* \+5\.00 \+- 0\.00 points  \+3\.30$", result.stdout, re.MULTILINE)
    assert json.loads((tmp_path / "ablation-half.json").read_text())["figures"]["half"][1] is None
    assert len(pretended.commands) == 6
    pretended.curve = lambda command: [None]
    result = reproduce(ablation.command, *words[:3], "--out", tmp_path / "none", "--epochs", "2")
    assert result.exit_code == 0, result.output
    assert "half: unknown: in every pair a run diverged; diverged" in result.stdout


def test_lrn_cifar_compares_the_pure_ablation_and_the_2012_nets(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    def curve(command: str) -> list[float]:
        last = 0.30 if "normalization=none" in command else 0.34 if "13pct" in command else 0.24
        return [0.8] * 3 + [last]

    pretended.curve = curve
    words = ("--data", small, "--out", tmp_path, "--epochs", "4", "--seeds", "2")
    result = reproduce(lrn_cifar.command, *words)
    assert result.exit_code == 0, result.output
    assert re.search(r"^11pct, val error +11 % +12\.0 %  \+1\.0$", result.stdout, re.MULTILINE)
    assert re.search(r"^11pct-no-lrn, val error +- +15\.0 %$", result.stdout, re.MULTILINE)
    assert re.search(r"^13pct, val error +13 % +17\.0 %  \+4\.0$", result.stdout, re.MULTILINE)
    assert re.search(r"^13pct less 11pct +\+2 +\+5\.00 \+- 0\.00 points  \+3\.00$", result.stdout, re.MULTILINE)
    assert re.search(r"^11pct-no-lrn less 11pct +- +\+3\.00 \+- 0\.00 points$", result.stdout, re.MULTILINE)
    assert "4 epochs each (the 2012 code: 520), rates / 10 after epoch 3, " in result.stdout
    assert len(pretended.commands) == 6
    assert all("--epochs 4 " in command for command in pretended.commands)


def test_lrn_cifar_goes_on_where_a_net_diverged(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path
) -> None:
    pretended.curve = lambda command: [None] if "13pct" in command else [0.4]
    result = reproduce(lrn_cifar.command, "--data", small, "--out", tmp_path, "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert re.search(r"^13pct, val error +13 % +diverged$", result.stdout, re.MULTILINE)
    assert "diverged and left out, with the other run of the pair: 13pct at seed 0" in result.stdout
    assert "one rate throughout" in result.stdout


def test_test_stands_for_val_where_there_is_no_other_and_its_links_are_of_one_folder(
    small: Path, pretended: Any, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of one folder are not shown for another."""
    monkeypatch.setattr(Session, "must_call", lambda session, words, log: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset").symlink_to(small)
    for name in ("a", "b"):
        for split in ("train", "test"):
            (tmp_path / name / split).mkdir(parents=True)
    words = ("--out", tmp_path / "out", "--epochs", "1")
    result = reproduce(lrn_cifar.command, "--data", tmp_path / "a", *words)
    assert re.search(r"^11pct, test error +11 % ", result.stdout, re.MULTILINE), result.output
    result = reproduce(lrn_cifar.command, "--data", tmp_path / "b", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"--data .*/b: .*/images/train links to .*/a/train; give another --out", result.stderr)


def test_data_that_cannot_serve_is_named(dataset: Dataset, reproduce: Reproduce, tmp_path: Path) -> None:
    result = reproduce(figure1.command, "--data", dataset.folder, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has images of 256 pixels; this claim needs 32" in result.stderr
    assert "does not exist" in reproduce(free.command, "--data", "none", "--out", tmp_path).stderr


def test_free_quotes_the_benchmark() -> None:
    lap = {"items": 10, "seconds": 2.0}
    report = {
        "settings": {"batch": 10},
        "machine": {"cpu": "a CPU", "cores": 2, "load_average": 0.1},
        "floors": [{"name": "time, lit / plain", "value": 1.2, "met": False}],
        "figures": [{"name": "wait", "value": 21.0}],
        "contenders": [{"name": "lit", "laps": [lap, lap]}],
    }
    table = free.finding(report, "data: some").table()
    assert re.search(r'^time, lit / plain +1 \("free"\) +1\.200  \+20\.0 %$', table, re.MULTILINE)
    assert table.splitlines()[-1] == "not free here: time, lit / plain above 1.03"


def test_a_benchmark_that_broke_down_is_not_a_missed_floor(
    dataset: Dataset, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both exit with code 1; an older record is not quoted."""

    def call(session: Session, words: Sequence[str], log: Path) -> int:
        log.write_text("Traceback\nMemoryError\n")
        return 1

    monkeypatch.setattr(Session, "call", call)
    (tmp_path / "benchmark-free.json").write_text("{}")
    result = reproduce(free.command, "--data", dataset.folder, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(r"benchmark free .*: exit code 1: MemoryError \(log: .*benchmark\.log", result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["binary", "python"])
def test_cifar_10_is_taken_as_it_is_downloaded(
    form: str, pretended: Any, reproduce: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset is really made; only training is simulated."""
    files = {"binary": cifar_binary, "python": cifar_pickled}[form](draw_cifar(20))
    archive = write_cifar(files, tmp_path / "in", form)
    monkeypatch.undo()  # of `pretended`
    real = Session.call

    def call(session: Session, words: Sequence[str], log: Path, **until: Any) -> int:
        return (pretended.call if "train" in words else real)(session, words, log, **until)

    monkeypatch.setattr(Session, "call", call)
    words = ("--data", archive, "--out", tmp_path / "out")
    result = reproduce(lrn_cifar.command, *words, "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert re.search(r"^11pct, test error +11 % ", result.stdout, re.MULTILINE)
    assert "data: 100 train, 20 val images of 10 classes, 32 pixels" in result.stdout
    pretended.curve = falling
    result = reproduce(figure1.command, *words, "--max-epochs", "60")
    assert result.exit_code == 0, result.output


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
