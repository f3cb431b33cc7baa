"""`tools/evaluate`, by path: the errors of a plain loop over explicit crops."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from freelight.pipeline import Loader
from freelight.shards import Dataset, Statistics
from freelight.train import Checkpoint, Network, predict

TOOL = Path(__file__).parents[2] / "tools" / "evaluate"
ERRORS = re.compile(r"20 images of val, (1 view|10 views): top-1 error (.*)%, top-5 error (.*)%")


def typed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the tool by its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run([TOOL, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def command() -> click.Command:
    """The tool's command, to be run within this process, which is quicker."""
    spec = spec_from_loader("tool_evaluate", SourceFileLoader("tool_evaluate", str(TOOL)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # or tools/ gets a file `evaluatec`
        spec.loader.exec_module(module)
    assert isinstance(module.main, click.Command)
    return module.main


def call(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, words)))


@pytest.fixture(scope="module")
def network(run: Path) -> Network:
    trained = Checkpoint.load(run / "last.pt")
    return trained.network()


def crops(image: npt.NDArray[np.float32], views: int) -> npt.NDArray[np.float32]:
    """Cut the views of a 256x256 image: (views, 3, 224, 224)."""
    corners = [(16, 16)] if views == 1 else [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    straight = np.stack([image[y : y + 224, x : x + 224].transpose(2, 0, 1) for y, x in corners])
    return straight if views == 1 else np.concatenate([straight, straight[..., ::-1]])


@torch.no_grad()
def plain_probabilities(network: Network, dataset: Dataset, split: str, views: int) -> torch.Tensor:
    """Look at the pictures one by one, decoded by Pillow: (samples, classes)."""
    mean, samples = Statistics.load(dataset.folder).mean_image, dataset.split(split)
    found = []
    for index in range(len(samples)):
        image = np.asarray(Image.open(io.BytesIO(samples.read(index))), np.float32) - mean
        logits = network(torch.from_numpy(crops(image, views)))
        found.append(logits.softmax(dim=1).mean(dim=0))
    return torch.stack(found)


@pytest.mark.parametrize("views", [1, 10])
def test_predictions_equal_a_plain_loop_over_explicit_crops(
    views: int, run: Path, network: Network, dataset: Dataset
) -> None:
    trained = Checkpoint.load(run / "last.pt")
    loader = Loader(
        dataset,
        "val",
        batch_size=8,
        transform=trained.recipe.evaluation_transform(views),
        statistics=trained.statistics,
        order="sequential",
    )
    predicted = torch.cat([probabilities for probabilities, _ in predict(network, loader)])
    torch.testing.assert_close(predicted, plain_probabilities(network, dataset, "val", views), rtol=0, atol=1e-5)


def plain_errors(network: Network, dataset: Dataset, views: int) -> list[float]:
    """Return the top-1 and top-5 error of val, per cent."""
    best = plain_probabilities(network, dataset, "val", views).argsort(dim=1, descending=True)
    hits = best == torch.from_numpy(dataset.split("val").samples["label"].astype(np.int64))[:, None]
    return [100 * (1 - hits[:, :first].any(dim=1).double().mean().item()) for first in (1, 5)]


def test_as_typed_it_says_the_ten_view_errors_of_the_plain_loop(run: Path, network: Network, dataset: Dataset) -> None:
    result = typed("--checkpoint", run / "last.pt", "--shards", dataset.folder)
    assert result.returncode == 0, result.stderr
    said = ERRORS.fullmatch(result.stdout.strip())
    assert said, result.stdout
    assert said[1] == "10 views"
    assert [float(error) for error in said.groups()[1:]] == pytest.approx(plain_errors(network, dataset, 10), abs=1e-9)


def test_with_one_view_it_says_the_centre_views_errors(
    command: click.Command, run: Path, network: Network, dataset: Dataset
) -> None:
    words = ["--checkpoint", run / "last.pt", "--shards", dataset.folder]
    result = call(command, *words, "--views", "1", "--batch-size", "7")
    assert result.exit_code == 0, result.output
    said = ERRORS.fullmatch(result.stdout.strip())
    assert said, result.stdout
    assert said[1] == "1 view"
    assert [float(error) for error in said.groups()[1:]] == pytest.approx(plain_errors(network, dataset, 1), abs=1e-9)


def test_a_network_of_two_columns_is_evaluated_in_one_process(
    command: click.Command, two_column_run: Path, dataset: Dataset
) -> None:
    words = ["--checkpoint", two_column_run / "last.pt", "--shards", dataset.folder]
    result = call(command, *words, "--split", "train", "--views", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("60 images of train, 1 view: ")


def test_it_needs_no_statistics_of_the_data_it_looks_at(
    command: click.Command, run: Path, dataset: Dataset, dataset_copy: Dataset
) -> None:
    for path in dataset_copy.folder.glob("statistics.*"):
        path.unlink()
    words = ["--checkpoint", run / "last.pt", "--views", "1", "--shards"]
    own, copy = (call(command, *words, folder) for folder in (dataset.folder, dataset_copy.folder))
    assert (copy.exit_code, copy.stdout) == (0, own.stdout)


def test_classes_in_another_order_are_matched_and_the_errors_stay(
    command: click.Command, run: Path, dataset: Dataset, dataset_copy: Dataset
) -> None:
    folder = dataset_copy.folder
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    content = json.loads((folder / "dataset.json").read_text())
    content["classes"] = [content["classes"][label] for label in order]
    samples = np.load(folder / "val.samples.npy")
    samples["label"] = np.argsort(order)[samples["label"]]
    np.save(folder / "val.samples.npy", samples)
    digest = hashlib.sha256((folder / "val.samples.npy").read_bytes()).hexdigest()
    content["splits"]["val"]["files"]["val.samples.npy"] = digest
    (folder / "dataset.json").write_text(json.dumps(content))
    words = ["--checkpoint", run / "last.pt", "--views", "1", "--shards"]
    own, other = (call(command, *words, shards) for shards in (dataset.folder, folder))
    said, errors = other.stdout.splitlines()
    assert said == "the dataset's classes are in another order than the checkpoint's; labels were matched by class id"
    assert errors == own.stdout.strip()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "there is no checkpoint {out}/none.pt"),
        ({"split": "test"}, "{shards} has no split 'test'; it has: train, val"),
        ({"classes": 9}, "the classes differ: only the checkpoint has 'n90000010'"),
        (
            {"image_size": 64},
            "{shards} has images of 64 pixels, the network was trained on 256; make the dataset again",
        ),
    ],
    ids=["checkpoint", "split", "classes", "size"],
)
def test_what_it_cannot_do_is_one_line_and_exit_code_2(
    change: dict[str, str | int] | None,
    message: str,
    command: click.Command,
    run: Path,
    dataset_copy: Dataset,
    tmp_path: Path,
) -> None:
    folder = dataset_copy.folder
    shutil.copy(run / "last.pt", tmp_path / "last.pt")
    content = json.loads((folder / "dataset.json").read_text())
    words = ["--checkpoint", tmp_path / ("last.pt" if change else "none.pt"), "--shards", folder]
    for name, value in (change or {}).items():
        if name == "split":
            words += ["--split", str(value)]
        else:
            content[name] = content[name][:value] if name == "classes" else value
    (folder / "dataset.json").write_text(json.dumps(content))
    result = call(command, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: " + message.format(out=tmp_path, shards=folder))
