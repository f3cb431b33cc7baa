"""What all faults share: small data, a shell for the installed commands, and the count of the faults."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from jobs import Inject, Shell
from runs import training
from small_disk import SmallDisk
from stores import FaultyStore, Objects

from freelight.demo.drawing import draw_pictures

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many faults were injected, and how many tests did not see what must hold."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    faults = [value for report in reports for name, value in report.user_properties if name == "fault"]
    if faults:
        failed = len(terminalreporter.getreports("failed"))
        ending = f"{failed} tests failed" if failed else "none broke a promise"
        terminalreporter.write_line(f"{len(faults)} faults injected, {ending}")


@pytest.fixture
def inject(record_property: pytest.FixtureRequest) -> Inject:
    """Count a fault, and name it in a report: `inject("SIGKILL of a worker")`."""
    return lambda what: record_property("fault", what)  # type: ignore[operator]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell with an empty folder for temporary files."""
    shell = Shell(tmp_path / "shell")
    yield shell
    shell.close()


@pytest.fixture
def disk(shell: Shell, tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk, which the commands of `shell` see."""
    disk = SmallDisk(tmp_path / "disk")
    shell.prefix = disk.prefix
    yield disk
    shell.close()
    disk.close()


@pytest.fixture(scope="module")
def objects() -> Iterator[Objects]:
    """An object store with an empty bucket, `bucket`."""
    objects = Objects()
    yield objects
    objects.close()


@pytest.fixture
def store(objects: Objects, shell: Shell, tmp_path: Path) -> Iterator[FaultyStore]:
    """The store that holds a test file's `objects`, as the commands of `shell` see it."""
    store = FaultyStore(objects, tmp_path / "proxy")
    shell.environment |= store.environment
    yield store
    store.die()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures that make 30 shards of eight."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    draw_pictures(folder, train_per_class=20, val_per_class=4)
    return folder


@pytest.fixture(scope="session")
def made(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of `images` at 256 pixels, with statistics: 31 shards, read only."""
    folder = tmp_path_factory.mktemp("made")
    shell = Shell(folder / "shell")
    shell.succeed("make_shards", "--images", images, "--out", folder / "dataset", "--samples-per-shard", 8)
    shell.succeed("compute_pca", "--shards", folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="session")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The folder of a run of two epochs on so many columns, to which nothing happened: read only."""
    folder = tmp_path_factory.mktemp("trained")

    @cache
    def run(columns: int) -> Path:
        Shell(folder / f"shell-{columns}").succeed(*training(made, folder / f"run-{columns}", columns))
        return folder / f"run-{columns}"

    return run
