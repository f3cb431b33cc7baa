"""`tools/report`: one page that fetches nothing and fits a desktop, a phone and paper, in a real browser."""

import dataclasses
import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freelight.shards import Dataset, FreelightError
from freelight.train import Checkpoint
from freelight.train.environment import describe_environment, read_environment
from freelight.train.inspection import report
from freelight.train.recipes import Header, PublishedError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """Chromium without a window, controlled through pipes with its DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        given = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (to_read, to_write)]
        self.process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{given[0]} 4>&{given[1]}', "bash", CHROMIUM),
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"),
                *("--no-first-run", f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=given,
            stderr=subprocess.DEVNULL,
        )
        for one in (to_read, to_write, *given):
            os.close(one)
        self._left, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return a command's result; events until then are added to `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def next(self) -> dict[str, Any]:
        """Return the next message."""
        while b"\0" not in self._left:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, path: Path, width: int) -> None:
        """Load a file on a screen of this width, a phone's if it is narrow, and wait until it is complete."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        narrow = width < 640
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=2 if narrow else 1,
            mobile=narrow,
        )
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next())

    def evaluate(self, expression: str) -> Any:
        """Return a value that the page computes."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
        os.close(self._read)
        os.close(self._write)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here; apt-get install chromium")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def written(call: Any, run: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the run and its dataset, behind a URL."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    words = ["--run", run, "--out", out, "--features", out.parent / "features"]
    words += ["--shards", f"file://{dataset.folder}", "--cache", out.parent / "cache"]
    result = call("report", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"report: {out} (")
    return out


def test_it_says_what_the_run_was_and_did(written: Path, run: Path) -> None:
    page = written.read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "The run",
        "Curves",
        "Errors beside published ones",
        "The first layer&#x27;s kernels",
        "Predictions",
        "Similar images",
        "Error by class",
        "Speed and the wait for data",
        "What the recipe does",
        "All settings",
    ]
    anchors = re.findall(r'<section id="(.*?)">', page)
    assert re.findall(r'<a href="#(.*?)">', page) == anchors, "each part is linked at the top"
    assert len(set(anchors)) == len(headings)
    assert "<tr class=bold><td>batch_size</td><td>16</td><td>images per step, over all replicas</td></tr>" in page
    assert "<tr><td>momentum</td><td>0.9</td>" in page
    noted = read_environment(run)
    assert noted is not None
    assert noted.keys() == {*describe_environment(), "threads"}
    for said in (*noted.values(), "batch_size=16", "train 60 images, val 20 images", "8 steps, 2 epochs", ">17.0<"):
        assert said in page, said


def test_nothing_in_it_is_to_be_fetched(written: Path) -> None:
    page = written.read_text()
    assert not re.search(r"""(?:src|href|srcset)\s*=\s*["'](?!data:|#)""", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page


def test_without_the_dataset_it_has_what_the_run_knows(run: Path, tmp_path: Path) -> None:
    page = report(run, None)
    assert "this run: epoch " in page
    assert "<h2>Predictions</h2>" not in page
    with pytest.raises(FreelightError, match=r"holds neither best\.pt nor last\.pt; give a folder that train wrote"):
        report(tmp_path, None)


def test_a_recipe_of_ones_own_is_reported_with_its_own_published_errors(run: Path, tmp_path: Path) -> None:
    trained = Checkpoint.load(run / "last.pt")
    published = (PublishedError(source="lab", measured="our photographs, ten views", top1=0.123),)
    recipe = dataclasses.replace(trained.recipe, name="mine", header=Header(published=published))
    dataclasses.replace(trained, recipe=recipe).save(tmp_path / "last.pt")
    page = report(tmp_path, None)
    assert ">mine (compared with paper), with " in page
    assert "<td>lab: our photographs, ten views</td><td class=number>12.3</td><td class=number></td>" in page
    assert "paper: " not in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen_whole_and_asks_for_nothing(width: int, written: Path, browser: Browser) -> None:
    browser.open(written, width)
    assert browser.evaluate("window.innerWidth") == width, "the page is wider than the phone"
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    beyond = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert browser.evaluate(beyond) == 0
    pictures = "[...document.images].map(i => [i.complete, i.naturalWidth, i.getBoundingClientRect().width])"
    shown = browser.evaluate(pictures)
    assert len(shown) == 5
    for complete, natural, wide in shown:
        assert complete
        # Narrow drawings have two pixels per CSS pixel, so their text of 28 pixels is 13 or more on the screen.
        assert wide / natural >= (0.47 if width == 390 else 0.85)
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]
    failed = [event for event in browser.events if event.get("method") in ("Network.loadingFailed", "Log.entryAdded")]
    assert failed == []


@pytest.mark.slow
def test_in_the_dark_text_and_charts_are_light_and_photographs_stay(written: Path, browser: Browser) -> None:
    browser.open(written, 1280)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="screen", features=dark)
    colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    assert browser.evaluate(colours) == ["rgb(228, 228, 228)", "rgb(22, 24, 27)"]
    filters = "[...document.images].map(i => [i.className, getComputedStyle(i).filter])"
    assert {name for name, filtered in browser.evaluate(filters) if filtered != "none"} == {"chart"}
    browser.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.evaluate(colours) == ["rgb(25, 25, 25)", "rgb(255, 255, 255)"]
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


@pytest.mark.slow
def test_on_paper_no_line_is_cut_off(written: Path, browser: Browser) -> None:
    browser.open(written, 1280)
    printed = browser.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
    assert len(printed["data"]) > 10_000
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.call("Emulation.setDeviceMetricsOverride", width=718, height=900, deviceScaleFactor=1, mobile=False)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 718
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"CPU": 3}', b'{"CPU": "\xff"}', b"[" * 100_000])
def test_a_damaged_note_of_the_environment_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_bytes(content)
    with pytest.raises(FreelightError, match=r"environment\.json.*; delete it"):
        read_environment(tmp_path)
