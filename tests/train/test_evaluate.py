"""`freelight evaluate`: the errors of a plain loop over explicit crops."""

import dataclasses
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from freelight.commands.evaluate import command
from freelight.pipeline import Loader
from freelight.shards import Dataset, Statistics
from freelight.train import Checkpoint, Network, predict
from freelight.train.evaluation import Predictions

ERRORS = re.compile(
    r"20 images of val, (1 view|10 views): top-1 error (.*)%, top-5 error (.*)%, loss \d+\.\d{3}, \S+ images/s"
)


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, words)))


def without_speed(line: str) -> str:
    """Return the output without images/s, which differ each time."""
    said, _, speed = line.strip().rpartition(", ")
    assert speed.endswith(" images/s")
    return said


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
    """Evaluate the pictures one by one, decoded by Pillow: (samples, classes)."""
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


def test_as_typed_it_says_the_ten_view_errors_of_the_plain_loop(
    typed: Any, run: Path, network: Network, dataset: Dataset
) -> None:
    result = typed("evaluate", "--checkpoint", run / "last.pt", "--shards", dataset.folder)
    assert result.returncode == 0, result.stderr
    said = ERRORS.fullmatch(result.stdout.strip())
    assert said, result.stdout
    assert said[1] == "10 views"
    assert [float(error) for error in said.groups()[1:]] == pytest.approx(plain_errors(network, dataset, 10), abs=1e-9)


def test_with_one_view_it_says_the_centre_views_errors(run: Path, network: Network, dataset: Dataset) -> None:
    words = ["--checkpoint", run / "last.pt", "--shards", dataset.folder]
    result = call(*words, "--views", "1", "--batch-size", "7")
    assert result.exit_code == 0, result.output
    said = ERRORS.fullmatch(result.stdout.strip())
    assert said, result.stdout
    assert said[1] == "1 view"
    assert [float(error) for error in said.groups()[1:]] == pytest.approx(plain_errors(network, dataset, 1), abs=1e-9)


def test_a_network_of_two_columns_is_evaluated_in_one_process(two_column_run: Path, dataset: Dataset) -> None:
    words = ["--checkpoint", two_column_run / "last.pt", "--shards", dataset.folder]
    result = call(*words, "--split", "train", "--views", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("60 images of train, 1 view: ")


def test_it_needs_no_statistics_of_the_data_it_looks_at(run: Path, dataset: Dataset, dataset_copy: Dataset) -> None:
    for path in dataset_copy.folder.glob("statistics.*"):
        path.unlink()
    words = ["--checkpoint", run / "last.pt", "--views", "1", "--shards"]
    own, copy = (call(*words, folder) for folder in (dataset.folder, dataset_copy.folder))
    assert (copy.exit_code, without_speed(copy.stdout)) == (0, without_speed(own.stdout))


def test_classes_in_another_order_are_matched_and_the_errors_stay(
    run: Path, dataset: Dataset, dataset_copy: Dataset
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
    own, other = (call(*words, shards) for shards in (dataset.folder, folder))
    said, errors = other.stdout.splitlines()
    assert said == "the dataset's classes are in another order than the checkpoint's; labels were matched by class id"
    assert without_speed(errors) == without_speed(own.stdout)


@pytest.mark.parametrize("more", [(), ("--predictions", "x.npz")], ids=["ranks", "probabilities"])
def test_a_network_that_overflows_is_an_error_not_an_error_of_100_percent(
    more: tuple[str, ...], run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are finite, its probabilities are not."""
    monkeypatch.chdir(tmp_path)
    trained, path = Checkpoint.load(run / "last.pt"), tmp_path / "large.pt"
    weights = {name: tensor * 1e30 for name, tensor in trained.weights.items()}
    dataclasses.replace(trained, weights=weights).save(path)
    result = call("--checkpoint", path, "--views", "1", "--shards", dataset.folder, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {path} gives probabilities that are not finite (NaN)")
    assert not Path("x.npz").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "there is no checkpoint {out}/none.pt"),
        ({"split": "test"}, "{shards} has no split 'test'; it has: train, val"),
        ({"classes": "n90000011"}, "the classes differ: only the dataset {shards} has 'n90000011'"),
        (
            {"image_size": 64},
            "{shards} has images of 64 pixels, the network was trained on 256; make the dataset again",
        ),
        ({"image_size": None}, "{shards} has images of several sizes, but squares are needed; make squares with"),
    ],
    ids=["checkpoint", "split", "classes", "size", "sizes"],
)
def test_what_it_cannot_do_is_one_line_and_exit_code_2(
    change: dict[str, str | int | None] | None,
    message: str,
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
            content[name] = [*content[name], {"id": value, "name": "a class"}] if name == "classes" else value
        if value == 64:
            table = np.load(folder / "val.samples.npy")
            table["height"] = table["width"] = 64
            np.save(folder / "val.samples.npy", table)
            split = content["splits"]["val"]
            split["sizes"] = {side: {"min": 64, "median": 64, "max": 64} for side in ("height", "width")}
            split["files"]["val.samples.npy"] = hashlib.sha256((folder / "val.samples.npy").read_bytes()).hexdigest()
    (folder / "dataset.json").write_text(json.dumps(content))
    result = call(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: " + message.format(out=tmp_path, shards=folder))


def test_networks_are_averaged_and_their_predictions_need_no_second_pass(
    run: Path, two_column_run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """The average of saved predictions equals that of a pass over both networks; passes give the same file."""
    kept = tmp_path / "kept.npz"
    where = ["--shards", dataset.folder, "--views", "1"]
    checkpoints = ["--checkpoint", run / "last.pt", "--checkpoint", two_column_run / "last.pt"]
    both = call(*where, *checkpoints, "--predictions", kept)
    assert both.exit_code == 0, both.output
    first, second, average, verdict = both.stdout.splitlines()
    assert first.startswith(f"{run}/last.pt: 20 images of val, 1 view: top-1 error ")
    assert second.startswith(f"{two_column_run}/last.pt: 20 images of val, 1 view: top-1 error ")
    assert average.startswith("average of 2 networks, weights 0.500,0.500 (equal): 20 images of val, 1 view: top-1 ")
    assert re.fullmatch(r"the average's top-1 error is (not )?lower than the networks' mean, \d+\.\d\d%", verdict)
    one = call(*where, checkpoints[0], checkpoints[1], "--predictions", tmp_path / "one.npz")
    assert one.exit_code == 0, one.output
    joined = ["--from", tmp_path / "one.npz", *checkpoints[2:], "--predictions", tmp_path / "joined.npz"]
    assert call(*where, *joined).exit_code == 0
    assert Predictions.load(tmp_path / "joined.npz").names.tolist() == Predictions.load(kept).names.tolist()
    again = call(*where, "--from", kept)
    assert again.stdout == both.stdout
    given = call(*where, "--from", kept, "--weights", "3,1")
    assert "weights 0.750,0.250 (as given)" in given.stdout
    searched = call(*where, "--from", kept, "--search-weights")
    assert "(SEARCHED ON THESE LABELS: optimistic)" in searched.stdout


@pytest.mark.slow
def test_two_processes_say_what_one_says(typed: Any, run: Path, dataset: Dataset) -> None:
    words = ["--checkpoint", run / "last.pt", "--shards", dataset.folder, "--views", "1"]
    one, two = call(*words), typed("evaluate", *words, "--columns", "2")
    assert two.returncode == 0, two.stderr
    assert without_speed(two.stdout) == without_speed(one.stdout)


def test_a_table_names_every_class_and_the_worst_confusions(run: Path, dataset: Dataset) -> None:
    result = call("--checkpoint", run / "last.pt", "--shards", dataset.folder, "--views", "1", "--per-class")
    _, table, confusions = result.stdout.split("\n\n")
    header, *rows = table.splitlines()
    assert header.split("  ")[0] == "class"
    assert {row.split()[0] for row in rows} == {info.name for info in dataset.manifest.classes}
    assert re.fullmatch(r"\w+ taken for \w+: [12] of 2", confusions.splitlines()[0])


def test_as_json_it_gives_the_numbers_of_the_text(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    """One document on stdout, of networks and their average, classes and confusions."""
    kept = tmp_path / "kept.npz"
    words = ["--shards", dataset.folder, "--views", "1"]
    twice = [*words, "--checkpoint", run / "last.pt", "--checkpoint", run / "last.pt", "--predictions", kept]
    document = json.loads(call(*twice, "--json").stdout)
    text = call(*words, "--from", kept, "--per-class").stdout
    with_classes = json.loads(call(*words, "--from", kept, "--per-class", "--json").stdout)
    assert re.fullmatch(r"\d+ decode", document.pop("threads"))
    assert with_classes.pop("threads") is None, "no network was shown anything"
    assert with_classes.items() >= document.items()
    assert {name: document[name] for name in ("split", "views", "images")} == {"split": "val", "views": 1, "images": 20}
    (network, _), average = document["networks"], document["average"]
    assert list(network) == ["name", "top1", "top5", "loss", "images_per_second", "reordered"]
    assert (network["name"], network["reordered"]) == (f"{run}/last.pt", False)
    errors = f"top-1 error {network['top1']:.2%}, top-5 error {network['top5']:.2%}, loss {network['loss']:.3f}"
    assert f"{errors}, {network['images_per_second']:.1f} images/s" in text
    assert (average["weights"], average["origin"]) == ([0.5, 0.5], "equal")
    assert {name: average[name] for name in ("top1", "top5", "loss")} == pytest.approx(
        {name: network[name] for name in ("top1", "top5", "loss")}
    )
    classes, confusions = with_classes["classes"], with_classes["confusions"]
    assert [scored["id"] for scored in classes] == [info.id for info in dataset.manifest.classes]
    assert sum(scored["images"] for scored in classes) == 20
    names = {scored["id"]: scored["name"] for scored in classes}
    for pair in confusions:
        line = f"{names[pair['class']]} taken for {names[pair['predicted']]}: {pair['count']} of {pair['images']}"
        assert line in text.splitlines()
    alone = json.loads(call(*words, "--checkpoint", run / "last.pt", "--json").stdout)
    assert alone["average"] is None


def test_shards_may_lie_behind_a_url(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    words = ["--checkpoint", run / "last.pt", "--views", "1", "--shards"]
    near = call(*words, dataset.folder)
    far = call(*words, f"file://{dataset.folder}", "--cache", tmp_path / "cache")
    assert far.exit_code == 0, far.output
    assert without_speed(far.stdout) == without_speed(near.stdout)


def test_it_says_the_same_without_keeping_probabilities_where_nobody_wants_them(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--checkpoint", run / "last.pt", "--shards", dataset.folder, "--views", "1", "--per-class"]
    kept = call(*words, "--predictions", tmp_path / "kept.npz").stdout.splitlines()
    monkeypatch.delattr("freelight.train.evaluation.launching.predict_split")
    counted = call(*words).stdout.splitlines()
    assert without_speed(counted[0]) == without_speed(kept[0])
    assert counted[1:] == kept[1:]


def unlabel(folder: Path) -> None:
    """Make val a split without labels, as the challenge's test set is."""
    content = json.loads((folder / "dataset.json").read_text())
    samples = np.load(folder / "val.samples.npy")
    samples["label"] = -1
    np.save(folder / "val.samples.npy", samples)
    content["splits"]["val"]["labelled"] = False
    content["splits"]["val"]["files"]["val.samples.npy"] = hashlib.sha256(
        (folder / "val.samples.npy").read_bytes()
    ).hexdigest()
    content["label_order"] = "ilsvrc"
    (folder / "dataset.json").write_text(json.dumps(content))


def test_of_a_split_without_labels_the_challenges_file_is_written(
    run: Path, network: Network, dataset: Dataset, dataset_copy: Dataset, tmp_path: Path
) -> None:
    unlabel(dataset_copy.folder)
    words = ["--checkpoint", run / "last.pt", "--shards", dataset_copy.folder, "--views", "1"]
    without = call(*words)
    assert (without.exit_code, without.stdout) == (2, "")
    assert without.stderr == (
        "error: val has no labels to measure errors by; write the challenge's file with --submission\n"
    )
    out = tmp_path / "answers.txt"
    result = call(*words, "--submission", out)
    assert result.exit_code == 0, result.output
    assert "error" not in without_speed(result.stdout.splitlines()[0]).replace("no labels, so no errors", "")
    best = plain_probabilities(network, dataset, "val", 1).argsort(dim=1, descending=True)[:, :5] + 1
    sources = dataset.split("val").sources
    expected = [" ".join(map(str, best[sources.index(source)].tolist())) for source in sorted(sources)]
    assert out.read_text().splitlines() == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there is no network: give --checkpoint, or predictions files in --from"),
        ("--from {tmp}/none.npz", "there is no file {tmp}/none.npz; write it with: freelight evaluate --predictions"),
        ("--checkpoint {run}/last.pt --weights 1,2 --views 1", "--weights (=1,2) has 2 numbers for 1 networks"),
        (
            "--checkpoint {run}/last.pt --weights 1 --search-weights --views 1",
            "--weights and --search-weights exclude each other",
        ),
        ("--checkpoint {run}/last.pt --predictions {tmp}/no/x.npz", "there is no folder {tmp}/no; make it first"),
        (
            "--checkpoint {run}/last.pt --submission {tmp}/a.txt",
            "in wnid order, but a submission needs the devkit's numbers",
        ),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_exit_code_2(
    words: str, message: str, run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    names = {"tmp": tmp_path, "run": run}
    result = call("--shards", dataset.folder, *words.format(**names).split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert message.format(**names) in result.stderr.splitlines()[-1]
