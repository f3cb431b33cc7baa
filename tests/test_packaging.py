"""An installation contains every package, and only the commands `freelight` and `train`."""

import configparser
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import freelight

ROOT = Path(__file__).parents[1]
IN_NEW_PYTHON = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def package_folders() -> set[str]:
    """Return the import names of all folders with an `__init__.py`."""
    places = {"freelight": ROOT / "tools/freelight"}
    places.update({f"freelight.{name}": ROOT / name for name in ("shards", "pipeline", "train")})
    return {
        ".".join([name, *path.parent.relative_to(top).parts])
        for name, top in places.items()
        for path in top.rglob("__init__.py")
    }


def test_every_package_is_listed_in_setup_cfg() -> None:
    """A package that is not listed is missing from the wheel, although an editable install finds it."""
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    assert configuration["options"]["packages"].split() == sorted(package_folders())


def test_the_newest_section_of_the_changelog_is_of_this_version() -> None:
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == freelight.__version__


def run(*words: str | Path, folder: Path, **environment: str) -> str:
    """Run a program in `folder`, outside the checkout, and return its output."""
    given = {**IN_NEW_PYTHON, **environment}
    done = subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_environment(folder: Path) -> Path:
    """Make a virtual environment that sees the packages of this one, but not Freelight. Return its `bin`."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    (packages,) = folder.glob("lib/python*/site-packages")
    # As plain folders of sys.path: .pth files in there, such as that of an editable install, are not read.
    others = [sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    (packages / "others.pth").write_text("\n".join(dict.fromkeys(others)) + "\n")
    return folder / "bin"


def install(wheel: Path, binaries: Path) -> None:
    """Install a wheel into an environment, by this environment's pip."""
    python = binaries / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--no-deps")
    run(*pip, "--ignore-installed", wheel, folder=binaries)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `python -m build` makes of the tracked files: the source distribution, and from it the wheel.

    A copy of them, because a build leaves files beside the sources.
    """
    folder = tmp_path_factory.mktemp("built")
    for name in tracked_files():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source", folder=folder)
    return folder


def tracked_files() -> list[str]:
    """Return the files of the checkout that git tracks."""
    names = run("git", "ls-files", "-z", folder=ROOT).rstrip("\0").split("\0")
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (made,) = built.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_source_distribution_holds_every_tracked_file(built: Path) -> None:
    """Who has it can run the tests and read the documents."""
    (made,) = built.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(tracked_files()) - names == set()


@pytest.mark.slow
def test_a_wheel_holds_every_module_and_installs_two_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    assert entry_points.split() == [
        *("[console_scripts]", "freelight", "=", "freelight.cli:main", "train", "=", "freelight.cli:train")
    ]
    assert not [name for name in names if ".data/" in name], "no scripts"
    assert "freelight/py.typed" in names
    sources = {path.relative_to(ROOT / "tools") for path in (ROOT / "tools/freelight").rglob("*.py")}
    sources |= {
        "freelight" / path.relative_to(ROOT)
        for package in ("shards", "pipeline", "train")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == {str(path) for path in sources}


@pytest.mark.slow
def test_an_installed_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """From drawn pictures to statistics, and each command's help."""
    binaries = new_environment(tmp_path / "environment")
    before = {path.name for path in binaries.iterdir()}
    install(wheel, binaries)
    assert {path.name for path in binaries.iterdir()} - before == {"freelight", "train"}
    where = "import freelight.train, freelight; print(freelight.__file__, freelight.train.__file__)"
    for path in run(binaries / "python", "-c", where, folder=tmp_path).split():
        assert Path(path).is_relative_to(tmp_path), "not the checkout's"
    version = f"freelight, version {freelight.__version__}\n"
    assert run(binaries / "freelight", "--version", folder=tmp_path) == version
    assert run(binaries / "python", "-m", "freelight", "--version", folder=tmp_path) == version
    assert "--recipe" in run(binaries / "train", "--help", folder=tmp_path)
    assert "--recipe" in run(binaries / "freelight", "train", "--help", folder=tmp_path)
    for group in ("reproduce", "benchmark"):
        assert "Commands:" in run(binaries / "freelight", group, "--help", folder=tmp_path)
    for line in (
        "draw-pictures --out pictures --train-per-class 3 --val-per-class 1",
        "make-shards --images pictures --out made --size 32",
    ):
        run(binaries / "freelight", *line.split(), folder=tmp_path)
    printed = run(binaries / "freelight", "compute-pca", "--shards", "made", folder=tmp_path)
    assert printed.startswith("30 images, ")
    plan = run(binaries / "freelight", *["reproduce", "table1", "--data", "data", "--out", "out"], folder=tmp_path)
    assert "freelight make-shards --images" in plan


@pytest.mark.slow
def test_the_demo_runs_from_a_wheel_without_a_checkout_and_without_a_compiler(wheel: Path, tmp_path: Path) -> None:
    binaries = new_environment(tmp_path / "environment")
    install(wheel, binaries)
    printed = run(binaries / "freelight", "demo", folder=tmp_path, PATH=str(binaries), HOME=str(tmp_path))
    assert "top-1 error" in printed
    assert printed.splitlines()[-1].startswith("report: build/demo/run/report.html")


def test_this_editable_installation_has_the_commands_and_reads_the_checkout() -> None:
    """So an edit takes effect at once."""
    assert Path(freelight.__file__) == ROOT / "tools/freelight/__init__.py"
    binaries = Path(sys.executable).parent
    assert run(binaries / "freelight", "--version", folder=ROOT) == f"freelight, version {freelight.__version__}\n"
    assert (binaries / "train").is_file()
    assert not (binaries / "make_shards").exists(), "run `make install` again: setup.cfg has changed"
