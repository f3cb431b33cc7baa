"""An object store that fails while it is read: a fault that passes changes nothing, and one that stays is one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Inject, Shell, assert_no_traceback, assert_one_line
from runs import assert_same_run, metrics, training
from stores import FaultyStore, Objects

pytest.importorskip("moto")
pytest.importorskip("s3fs")

URL = "s3://bucket/set"
PASSING = ["500", "503", "cut", "short", "flipped", "page", "reset", "slow"]
"""Faults after which a second try is made. After 403 none is: it is a matter of rights."""


@pytest.fixture(scope="module", autouse=True)
def stored(made: Path, objects: Objects) -> None:
    """The dataset is in the object store, at `URL`."""
    objects.put(made, URL.rpartition("/")[2])


def evaluate(trained: Callable[[int], Path], shards: Path | str, *more: object) -> list[object]:
    words = ["evaluate", "--checkpoint", trained(1) / "last.pt", "--shards", shards, "--views", 1, "--json"]
    return [*words, *more]


def errors(text: str) -> dict[str, object]:
    """Return what an evaluation measured, but for the time that it took."""
    network = json.loads(text)["networks"][0]
    return {name: network[name] for name in ("top1", "top5", "loss")}


@pytest.fixture(scope="module")
def expected(made: Path, trained: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The errors on the local dataset."""
    return errors(Shell(tmp_path_factory.mktemp("local") / "shell").succeed(*evaluate(trained, made)).stdout)


@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_passes_changes_nothing(
    kind: str,
    store: FaultyStore,
    trained: Callable[[int], Path],
    expected: dict[str, object],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    """The first request for each file fails, and the second does not."""
    store.plan(kind, r"GET .*val[.-]", times=1)
    ended = shell.succeed(*evaluate(trained, URL, "--cache", tmp_path / "cache"))
    assert errors(ended.stdout) == expected
    assert_no_traceback(ended)
    assert len(store.faults) >= 6, "the table and five shards"
    for fault in store.faults:
        inject(f"{fault} once")
    shell.assert_no_leftover(tmp_path / "cache")


@pytest.mark.parametrize("kind", ["503", "cut", "flipped"])
def test_verification_statistics_and_repair_pass_over_faults(
    kind: str, store: FaultyStore, objects: Objects, made: Path, shell: Shell, inject: Inject, tmp_path: Path
) -> None:
    """Without a cache. The first request for each of five files fails; nothing sound is called damaged or written."""
    objects.put(made, "chain")
    before = objects.get("chain")
    url = "s3://bucket/chain"
    store.plan(kind, r"GET .*chain/(train.samples.npy|train-00000[01].(tar|idx))", times=1)
    for number, words in enumerate(
        (
            ["verify_shards", "--shards", url],
            ["compute_pca", "--shards", url, "--out", tmp_path / "x.npz"],
            ["make_shards", "--out", url, "--repair"],
        ),
        1,
    ):
        ended = shell.succeed(*words)
        assert_no_traceback(ended)
        assert words[0] == "compute_pca" or "every file is" in ended.stdout or "every byte is" in ended.stdout
        assert len(store.faults) >= 3 * number, "two shards and the table"
        inject(f"{kind} once for each file that {words[0]} reads")
        store.die()  # another proxy has not failed for any file yet
        store.start()
    assert objects.get("chain") == before


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("503", "dataset.json"),
        ("page", "dataset.json"),
        ("403", "val-000002.tar"),
        ("500", "val-000002.tar"),
        ("cut", "val-000002.tar"),
        ("flipped", "val-000002.tar"),
    ],
)
def test_a_fault_that_stays_is_one_line_and_the_next_start_succeeds(
    kind: str,
    name: str,
    store: FaultyStore,
    trained: Callable[[int], Path],
    expected: dict[str, object],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    words = evaluate(trained, URL, "--cache", tmp_path / "cache", "--fetch-timeout", 10)
    store.plan(kind, f"GET .*{name}")
    assert_one_line(shell.run(*words), URL if name.endswith(".tar") else "")
    inject(f"{kind} of {name} for ever")
    assert store.faults
    store.behave()
    assert errors(shell.succeed(*words).stdout) == expected
    shell.assert_no_leftover(tmp_path / "cache")


@pytest.mark.parametrize("comes_back", [True, False])
@pytest.mark.parametrize("kind", ["dies", "503", "slow"])
def test_a_store_that_fails_while_training(
    kind: str,
    comes_back: bool,
    store: FaultyStore,
    trained: Callable[[int], Path],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    """Back at the next retry, the run ends as if nothing had been; if not, the same command resumes it later."""
    out = tmp_path / "run"
    words = training(URL, out, 1, "--cache", tmp_path / "cache", "--fetch-timeout", 30)
    # The shards of val are first wanted after the first epoch.
    if kind == "slow":
        store.plan(kind, "GET .*tar")
    job = shell.begin(*words)
    job.wait_until(lambda: len(metrics(out)) >= 2)
    if kind == "dies":
        store.die()
    elif kind == "503":
        store.plan(kind, "GET .*tar")
    inject(f"the store {kind} while train reads")
    if comes_back and kind != "slow":
        job.wait_until(lambda: "try 2 follows" in job.stderr.read_text())
        store.behave()
        if kind == "dies":
            store.start()
    ended = job.end()
    if comes_back or kind == "slow":
        assert ended.returncode == 0, ended
        assert_no_traceback(ended)
    else:
        assert_one_line(ended, URL, "check the server")
        store.behave()
        if kind == "dies":
            store.start()
        shell.succeed(*words)
    assert_same_run(out, trained(1))
    shell.assert_no_leftover(out, tmp_path / "cache")
