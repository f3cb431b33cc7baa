"""One run writes to a URL at a time, and the lock of one that died is taken over."""

import json
import logging
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from making import SMALL, files

from freelight.shards import FreelightError, Source, make_shards
from freelight.shards.base import open_store
from freelight.shards.writing import url_lock
from freelight.shards.writing.url_lock import UrlLock, lock_url

FAST = {"BEAT": 0.02, "LOOK": 0.01, "SILENCE": 0.1}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in FAST.items():
        monkeypatch.setattr(url_lock, name, seconds)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/set"


def lock(url: str) -> UrlLock:
    return UrlLock(url, lambda work: work(*open_store(url)), None)


def put(url: str, name: str, content: dict[str, Any] | bytes) -> None:
    files, root = open_store(url)
    files.makedirs(f"{root}/.partial", exist_ok=True)
    files.pipe_file(f"{root}/.partial/{name}", content if isinstance(content, bytes) else json.dumps(content).encode())


def names(url: str) -> list[str]:
    files, root = open_store(url)
    return sorted(str(path).rpartition("/")[2] for path in files.find(root))


def here(**more: Any) -> dict[str, Any]:
    return {**url_lock._this_process(), "since": "then", "token": "other", **more}


def test_a_second_run_is_refused_with_the_name_of_the_holder(url: str) -> None:
    held = lock(url)
    with pytest.raises(
        FreelightError, match=r"another run is writing .*/set: process \d+ on .*, since .* UTC; wait for it"
    ):
        lock(url)
    held.check()
    held.release()
    assert names(url) == []
    lock(url).release()


def test_the_lock_of_a_dead_process_of_this_machine_is_taken_over_at_once(
    url: str, source: Source, small: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a process returns: one that started at another time is another one."""
    monkeypatch.setattr(url_lock, "SILENCE", 60)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert url_lock._is_alive(here(process=process.pid, started=url_lock._start_of(process.pid)))
        put(url, "lock-1", here(process=process.pid, started=1, host="old\nname"))
        make_shards(source, url, SMALL)
        process.kill()
    assert re.search(r"set: the lock of process \d+ on old\\nname, since then is taken over", caplog.text)
    assert names(url) == sorted(files(small))


def test_a_lock_from_elsewhere_counts_until_it_is_silent(url: str, caplog: pytest.LogCaptureFixture) -> None:
    put(url, "lock-3", here(machine="another", beat=0))
    ended = threading.Event()

    def live() -> None:
        beat = 0
        while not ended.wait(0.01):
            put(url, "lock-3", here(machine="another", beat=(beat := beat + 1)))

    thread = threading.Thread(target=live)
    thread.start()
    with pytest.raises(FreelightError, match="another run is writing"):
        lock(url)
    ended.set()
    thread.join()
    taken = lock(url)
    assert taken.waited
    assert names(url) == ["lock-3", "lock-4"]
    assert "waiting up to 0 s for a sign of life" in caplog.text
    taken.release()


def test_of_many_that_take_over_one_succeeds(url: str) -> None:
    """At the same moment; the others then see its signs of life."""
    put(url, "lock-1", here(machine="another"))
    start = threading.Barrier(4)

    def take() -> UrlLock | None:
        start.wait()
        try:
            return lock(url)
        except FreelightError:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(take) for _ in range(4)]]
    taken = [one for one in found if one]
    assert len(taken) == 1
    taken[0].release()


def test_a_run_that_lost_its_lock_stops(url: str) -> None:
    """After a pause in which another run took it over; or it was overwritten, in a store without conditions."""
    for name in ("lock-2", "lock-1"):
        with lock_url(url, lambda work: work(*open_store(url)), None) as held:
            put(url, name, here(host="other"))
            held._thread.join(10)
            with pytest.raises(FreelightError, match=r"process \d+ on other, since then took the lock over"):
                held.check()
        assert names(url) in (["lock-1", "lock-2"], ["lock-1"])  # that of the other run stays
        files, root = open_store(url)
        files.rm(root, recursive=True)


def test_a_failed_run_leaves_no_lock(url: str, source: Source) -> None:
    def fail(records: Any, total: Any) -> Any:
        raise FreelightError("stop")

    with pytest.raises(FreelightError, match="stop"):
        make_shards(source, url, SMALL, watch=fail)
    assert names(url) == ["plan.json"]


def test_a_lock_that_no_run_wrote_counts_until_it_is_silent(url: str, caplog: pytest.LogCaptureFixture) -> None:
    contents: tuple[dict[str, Any] | bytes, ...] = {}, {"process": ["x"] * 2000}, b"[" * 4096
    for content in contents:
        put(url, "lock-1", content)
        lock(url).release()
    assert all(len(record.getMessage()) < 400 for record in caplog.records)
    assert logging.WARNING in {record.levelno for record in caplog.records}
