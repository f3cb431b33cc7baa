"""CIFAR-10 with and without normalisation, from the archives as they are downloaded."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from miniatures import cifar_binary, cifar_pickled, draw_cifar, write_cifar
from test_figure1 import falling

from freelight.claims import figure1, lrn_cifar
from freelight.claims.session import Session

Reproduce = Callable[..., Result]


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
    assert re.search(r"^13pct less 11pct: \+5\.00 ", result.stdout, re.MULTILINE)
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
