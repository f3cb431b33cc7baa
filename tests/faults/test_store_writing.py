"""An object store that fails while make_shards writes to it: one line, and the same command then ends the same."""

import signal
from pathlib import Path

import pytest
from jobs import Inject, Shell, assert_no_traceback, assert_one_line, assert_stopped, files
from stores import FaultyStore

pytest.importorskip("moto")
pytest.importorskip("s3fs")


def make(images: Path, out: object, workers: int = 1) -> list[object]:
    words = ["make_shards", "--images", images, "--out", out, "--workers", workers]
    return [*words, "--size", 48, "--samples-per-shard", 40]


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that a local job writes."""
    folder = tmp_path_factory.mktemp("whole")
    Shell(folder / "shell").succeed(*make(images, folder / "out"))
    return files(folder / "out")


@pytest.mark.parametrize(
    ("kind", "name", "workers"),
    [
        ("reset", "plan.json", 1),
        ("503", "train-000001.tar", 1),
        ("403", "train-000003.record", 2),
        ("500", "dataset.json", 1),
    ],
)
def test_a_fault_that_stays_is_one_line_and_the_next_start_ends_the_same(
    kind: str,
    name: str,
    workers: int,
    images: Path,
    whole: dict[str, bytes],
    store: FaultyStore,
    shell: Shell,
    inject: Inject,
) -> None:
    out = f"{kind}-{name.partition('.')[0]}-{workers}"
    store.plan(kind, f"PUT .*{out}/.*{name}")
    assert_one_line(shell.run(*make(images, f"s3://bucket/{out}", workers)), f"s3://bucket/{out} cannot be written")
    inject(f"{kind} of writing {name} for ever, {workers} workers")
    assert store.faults
    assert "dataset.json" not in store.objects.get(out)
    store.behave()
    shell.succeed(*make(images, f"s3://bucket/{out}", workers))
    assert store.objects.get(out) == whole
    shell.assert_no_leftover()


@pytest.mark.parametrize("kind", ["500", "503", "reset", "slow"])
def test_a_fault_that_passes_ends_the_same(
    kind: str, images: Path, whole: dict[str, bytes], store: FaultyStore, shell: Shell, inject: Inject
) -> None:
    """Two shards fail once, and are sent again."""
    out = f"once-{kind}"
    store.plan(kind, f"PUT .*{out}/train-00000[02].tar", times=1)
    assert_no_traceback(shell.succeed(*make(images, f"s3://bucket/{out}")))
    assert store.objects.get(out) == whole
    for fault in store.faults:
        inject(f"{fault} once")
    shell.assert_no_leftover()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_dies_while_it_is_written(
    workers: int, images: Path, whole: dict[str, bytes], store: FaultyStore, shell: Shell, inject: Inject
) -> None:
    out = f"died-{workers}"
    job = shell.begin(*make(images, f"s3://bucket/{out}", workers))
    job.wait_until(lambda: "train-000000.tar" in store.objects.names(out))
    store.die()
    inject(f"the store dies while {workers} workers write")
    assert_one_line(job.end(), f"s3://bucket/{out}")
    store.start()
    shell.succeed(*make(images, f"s3://bucket/{out}", workers))
    assert store.objects.get(out) == whole
    shell.assert_no_leftover()


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGTERM, 2), (signal.SIGINT, 1)]
)
def test_a_signal_while_shards_go_up_and_the_same_command_gives_the_same_bytes(
    number: signal.Signals,
    workers: int,
    images: Path,
    whole: dict[str, bytes],
    store: FaultyStore,
    shell: Shell,
    inject: Inject,
) -> None:
    """Each shard is slow to go up, so that some are on their way. What has arrived is not sent again."""
    out = f"{number.name}-{workers}"
    store.plan("slow", f"PUT .*{out}/.*")
    job = shell.begin(*make(images, f"s3://bucket/{out}", workers))
    job.wait_until(lambda: sum(name.endswith(".record") for name in store.objects.names(out)) >= 2)
    job.hurt("group" if number == signal.SIGINT else "command", number)
    assert_stopped(job.end(), number)
    inject(f"{number.name} while {workers} workers send shards")
    store.plan("slow", f"PUT .*{out}/.*")
    arrived = [name for name in store.objects.names(out) if name.endswith(".record")]
    sent = len(store.faults)
    shell.succeed(*make(images, f"s3://bucket/{out}", workers))
    assert store.objects.get(out) == whole
    assert arrived
    assert not [line for line in store.faults[sent:] if line.endswith(tuple(arrived))]
    shell.assert_no_leftover()


def test_a_second_run_is_one_line_that_names_the_first(
    images: Path, whole: dict[str, bytes], store: FaultyStore, shell: Shell
) -> None:
    first = shell.begin(*make(images, "s3://bucket/twice"))
    first.wait_until(lambda: ".partial/plan.json" in store.objects.names("twice"))
    first.hurt("command", signal.SIGSTOP)
    second = shell.run(*make(images, "s3://bucket/twice"))
    first.hurt("command", signal.SIGCONT)
    assert_one_line(second, f"another run is writing s3://bucket/twice: process {first.process.pid} on ", "; wait for")
    assert first.end().returncode == 0
    assert store.objects.get("twice") == whole
    shell.assert_no_leftover()


def test_of_two_runs_that_start_together_one_writes(
    images: Path, whole: dict[str, bytes], store: FaultyStore, shell: Shell
) -> None:
    both = [shell.begin(*make(images, "s3://bucket/race")) for _ in range(2)]
    ended = sorted((job.end() for job in both), key=lambda one: one.returncode)
    assert [one.returncode for one in ended] == [0, 2]
    assert_one_line(ended[1], "another run is writing s3://bucket/race: process ")
    assert store.objects.get("race") == whole


def test_a_store_that_refuses_conditions_is_written_all_the_same(
    images: Path, whole: dict[str, bytes], store: FaultyStore, shell: Shell, inject: Inject
) -> None:
    """It answers 501 to the header `If-None-Match`."""
    store.plan("501", "PUT .*old/.*/lock-1", times=1)
    shell.succeed(*make(images, "s3://bucket/old"))
    assert store.faults == ["501 PUT /bucket/old/.partial/lock-1"]
    inject("501 to a condition")
    assert store.objects.get("old") == whole
