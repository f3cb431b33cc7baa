"""The executables under tools/, run by path: their results, one line for each error, exit code 2."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from freelight.shards import Dataset, Statistics
from freelight.shards.statistics import comparison_table, constants_snippet

TOOLS = Path(__file__).parents[1] / "tools"


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool as typed: by its path, with the virtual environment first on PATH."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [str(TOOLS / tool), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def call(tool: str, *arguments: str | Path) -> Result:
    """Run a tool's command within this process, which is quicker."""
    command = import_module(f"freelight.commands.{tool}").command
    return CliRunner().invoke(command, list(map(str, arguments)))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_tool_is_an_executable_that_the_virtual_environment_runs() -> None:
    names = "make_shards verify_shards compute_pca preview evaluate predict find_similar export report demo"
    for path in map(TOOLS.joinpath, names.split()):
        assert os.access(path, os.X_OK), f"chmod +x {path}"
        assert path.read_text().startswith("#!/usr/bin/env python3\n")
        assert len(path.read_text().splitlines()) <= 80, "one screen"


def test_pictures_to_shards_to_eigenbasis_as_typed(pictures: Path, dataset: Dataset, tmp_path: Path) -> None:
    """Both tools by path, end to end: the same files as the library writes."""
    out = tmp_path / "dataset"
    words = ["--images", pictures, "--out", out, "--class-names", pictures / "class-names.tsv"]
    made = run("make_shards", *words, "--workers", "1", "--samples-per-shard", "16")
    assert made.returncode == 0, made.stderr
    train, val, sizes, rejects, last = made.stdout.splitlines()
    spread = r"6 a class; 1 cmyk, 1 greyscale in the source"
    assert re.fullmatch(rf"train: 60 samples of 10 classes in 4 shards, \d+\.\d MB, 3 rejected; {spread}", train)
    assert re.fullmatch(r"val: 20 samples of 10 classes in 2 shards, \d+\.\d MB, 0 rejected; 2 a class", val)
    assert sizes == "geometry square, size 256; train: height 256, width 256; val: height 256, width 256"
    assert rejects == f"rejected images and the reasons: {out}/rejected.jsonl"
    assert last == f"dataset {out}, labels sorted by class id, fingerprint {dataset.fingerprint[:12]}"
    assert len(made.stderr.splitlines()) <= 1, "off a terminal the progress bar is one line at most"

    computed = run("compute_pca", "--shards", out, "--workers", 1)
    assert computed.returncode == 0, computed.stderr
    assert files(out) == files(dataset.folder)

    statistics = Statistics.load(out)
    assert computed.stdout == f"{comparison_table(statistics)}\n\n{constants_snippet(statistics)}\n"


def test_running_make_shards_again_says_the_same_and_other_settings_exit_2(
    pictures: Path, dataset_copy: Dataset
) -> None:
    out = dataset_copy.folder
    words = ["--images", pictures, "--out", out, "--class-names", pictures / "class-names.tsv"]
    before = files(out)
    again = call("make_shards", *words, "--samples-per-shard", "16")
    assert (again.exit_code, again.stdout.splitlines()[-1][-12:]) == (0, dataset_copy.fingerprint[:12])
    other = run("make_shards", *words, "--samples-per-shard", "16", "--quality", "90")
    assert (other.returncode, other.stdout) == (2, "")
    assert re.fullmatch(r"error: .*\(quality: 95 then, 90 now\); choose another --out\n", other.stderr)
    assert files(out) == before


def test_settings_of_the_command_line_reach_the_dataset(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = "--images {} --out {} --workers 1 --samples-per-shard 7 --quality 80 --size 24 --seed 3 --limit 10"
    result = call("make_shards", *words.format(pictures / "val", out).split(), "--val-fraction", "0.5")
    assert result.exit_code == 0, result.output
    manifest = Dataset(out).manifest
    expected = {"samples_per_shard": 7, "quality": 80, "size": 24, "seed": 3, "limit": 10}
    assert expected.items() <= manifest.made_with.items()
    assert {name: split.samples for name, split in manifest.splits.items()} == {"train": 10, "val": 10}
    assert manifest.classes[0].name == manifest.classes[0].id


def test_pca_of_another_split(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "val.npz"
    result = call("compute_pca", "--shards", dataset.folder, "--split", "val", "--out", out, "--workers", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("20 images, ")
    assert json.loads((tmp_path / "val.json").read_text())["images"] == 20


@pytest.mark.parametrize("tool", ["make_shards", "verify_shards", "compute_pca", "preview"])
def test_help_names_every_option(tool: str) -> None:
    result = call(tool, "--help")
    assert result.exit_code == 0
    options = {
        "make_shards": "images out layout workers samples-per-shard quality size seed limit val-fraction class-names "
        "classes label-order max-rejected dry-run resampling cluster staging",
        "verify_shards": "shards level workers",
        "compute_pca": "shards split out workers cluster",
        "preview": "shards out split rows draws lighting strength seed",
    }
    assert set(re.findall(r"--[a-z-]+", result.stdout)) >= {f"--{name}" for name in options[tool].split()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--images {tmp}/none --out {tmp}/out", "--images {tmp}/none is not a folder or an archive"),
        ("--images {tmp}/empty --out {tmp}/out", "{tmp}/empty has no class folders"),
        ("--images {pictures} --out {tmp}", "--out {tmp} is not empty and was not started by make_shards"),
        (
            "--images {pictures} --out {tmp}/out --val-fraction 0.1",
            "--val-fraction needs a source that has only train",
        ),
        (
            "--images {pictures} --out {tmp}/out --class-names {tmp}/none",
            "{tmp}/none: No such file or directory; correct the path",
        ),
        ("--images {pictures} --out {tmp}/out --class-names /bin/true", "/bin/true is not UTF-8 text"),
        ("--images {pictures} --out {tmp}/file", "{tmp}/file is a file, but a folder is needed there"),
        ("--images {pictures} --out {tmp}/out --workers 0", "--workers (=0) must be at least 1"),
        ("--images {pictures} --out {tmp}/out --size 0", "--size (=0) must be at least 1 pixel"),
        ("--images {pictures} --out {tmp}/out --quality 101", "--quality (=101) must lie in 1..100"),
        ("--images {pictures} --out {tmp}/out --seed -1", "--seed (=-1) must be at least 0"),
        ("--images {pictures} --out {tmp}/out --layout none", "--layout (=none) must be one of ilsvrc2012, ilsvrc2010"),
        (
            "--images {pictures} --out {tmp}/out --label-order ilsvrc",
            "--label-order ilsvrc needs the class numbers of the",
        ),
        ("--images {pictures} --out {tmp}/out --max-rejected 2", "images rejected, but --max-rejected allows 2;"),
        ("--images {pictures} --out {tmp}/out --limit 0", "--limit (=0) must be at least 1"),
        ("--images {pictures} --out {tmp}/out --samples-per-shard 0", "--samples-per-shard (=0) must be at least 1"),
    ],
)
def test_what_make_shards_cannot_do_is_one_line_and_exit_code_2(
    words: str, message: str, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    names = {"tmp": tmp_path, "pictures": pictures}
    result = call("make_shards", *words.format(**names).split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert message.format(**names) in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--shards {tmp}",
            "{tmp} is not a finished dataset (no dataset.json); make it with: "
            "freelight make-shards --images IMAGES --out {tmp}",
        ),
        ("--shards {made} --split test", "{made} has no split 'test'; it has: train, val"),
        ("--shards {made} --split test --out {tmp}/x.npz", "{made} has no split 'test'; it has: train, val"),
        ("--shards {made} --out {tmp}/x.npz --workers 0", "--workers (=0) must be at least 1"),
        ("--shards {made} --out {tmp}/x", "--out {tmp}/x must end in .npz"),
        (
            "--shards {made} --split val",
            "{made}/statistics.npz is for the split train, not val; give another file: --out val.npz",
        ),
    ],
)
def test_what_compute_pca_cannot_do_is_one_line_and_exit_code_2(
    words: str, message: str, dataset: Dataset, tmp_path: Path
) -> None:
    names = {"tmp": tmp_path, "made": dataset.folder}
    result = call("compute_pca", *words.format(**names).split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"error: {message.format(**names)}"


def test_a_preview_is_drawn_and_says_how_large_it_is(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "preview.png"
    result = call("preview", "--shards", dataset.folder, "--out", out, "--split", "val", "--rows", "2")
    assert result.exit_code == 0, result.output
    with Image.open(out) as sheet:
        assert result.stdout == f"{out}: {sheet.width} x {sheet.height} pixels\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--shards {tmp} --out {tmp}/x.png", "{tmp} is not a finished dataset (no dataset.json); make it with: "),
        ("--shards {made} --out {tmp}/x.png --split test", "{made} has no split 'test'; it has: train, val"),
        ("--shards {made} --out {tmp}/x.png --rows 0", "--rows (=0) must lie in 1..50"),
        ("--shards {made} --out {tmp}/x.png --strength -1", "lighting --strength (=-1.0) must be 0 or more"),
        ("--shards {made} --out {tmp}/x.png --seed -1", "--seed (=-1) must be at least 0"),
    ],
)
def test_what_preview_cannot_do_is_one_line_and_exit_code_2(
    words: str, message: str, dataset: Dataset, tmp_path: Path
) -> None:
    names = {"tmp": tmp_path, "made": dataset.folder}
    result = call("preview", *words.format(**names).split())
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {message.format(**names)}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x.jpg", "{out} must end in .png"),
        ("none/x.png", "{out}: there is no folder {out.parent}; make it first"),
        ("a.png", "File '{out}' is a directory."),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(out: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    result = call("preview", "--shards", tmp_path / "no dataset", "--out", tmp_path / out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"Invalid value for '--out': {message.format(out=tmp_path / out)}\n")


def test_an_error_of_a_tool_run_by_path_has_no_traceback(tmp_path: Path) -> None:
    result = run("compute_pca", "--shards", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]*make-shards[^\n]*\n", result.stderr)


def test_a_tool_that_another_python_runs_names_the_remedy() -> None:
    """Without the virtual environment on PATH, `env python3` is the system's, which lacks Freelight."""
    words = [sys.executable, "-E", "-S", TOOLS / "make_shards"]  # -S: without the installed packages
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    remedy = f"in {TOOLS.parent} run: make install && . .venv/bin/activate"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: Freelight is not installed for {sys.executable}; {remedy}\n"


def test_a_missing_option_exits_2_and_names_it() -> None:
    result = call("make_shards", "--images", ".")
    assert result.exit_code == 2
    assert "Missing option '--out'" in result.stderr


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    result = call(
        "make_shards", "--images", pictures, "--out", tmp_path / "out", "--dry-run", "--samples-per-shard", 16
    )
    assert result.exit_code == 0, result.output
    first, train, val, sizes = result.stdout.splitlines()
    assert first == f"{pictures}: layout folders"
    assert re.fullmatch(r"train: 63 images of 10 classes, \d+\.\d MB; 6 to 9 a class, mean 6\.3; 4 shards", train)
    assert re.fullmatch(r"val: 20 images of 10 classes, \d+\.\d MB; 2 a class; 2 shards", val)
    assert sizes == "geometry square, size 256"
    assert not (tmp_path / "out").exists()


def test_a_geometry_and_what_has_no_effect_with_it(pictures: Path, tmp_path: Path) -> None:
    words = ["make_shards", "--images", pictures, "--out", tmp_path / "out", "--dry-run", "--geometry"]
    result = call(*words, "shorter", "--size", 1000, "--enlarge")
    assert result.exit_code == 0, result.output
    start = "geometry shorter, size 1000, smaller images enlarged; train: height 1000 to "
    assert result.stdout.splitlines()[-1].startswith(start)
    for given, error in (
        (["tall"], "--geometry (=tall) must be one of square, shorter, longer, original"),
        (["original", "--size", 300], "--geometry (=original) keeps every size; omit --size and --resampling, or"),
        (["square", "--enlarge"], "--enlarge is for the geometries shorter and longer: square always enlarges,"),
    ):
        result = call(*words, *given)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert error in result.stderr


def test_verify_shards_names_a_bad_sample_and_exits_1(dataset_copy: Dataset) -> None:
    folder = dataset_copy.folder
    sound = run("verify_shards", "--shards", folder, "--workers", 1, "--level", "decode")
    assert (sound.returncode, sound.stdout) == (0, f"{folder}: every byte is as it was written\n")
    split = dataset_copy.split("train")
    with (folder / "train-000000.tar").open("r+b") as file:
        file.seek(int(split.samples["offset"][2]) + 99)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    damaged = run("verify_shards", "--shards", folder, "--workers", 1)
    line, last = damaged.stdout.splitlines()
    assert damaged.returncode == 1
    assert line == f"{folder}/train-000000.tar: the sample from {split.sources[2]} is changed (crc32 differs)"
    assert last == f"{folder}: 1 problem; make-shards --repair mends what make-shards wrote"


def test_the_demo_empties_no_folder_but_its_own(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    result = call("demo", "--work", tmp_path)
    assert result.exit_code == 2
    assert f"--work {tmp_path} holds files that the demo did not make" in result.stderr
    assert (tmp_path / "letter.txt").exists()
