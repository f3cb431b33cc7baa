"""The executable, and its loader and training benchmarks by path."""

import json
import os
import re
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from benching import TOOLS, call, run

from freelight.benchmarks import augment, decode, free, host, loader, random_crops, resized_crops, step, train
from freelight.benchmarks import mixing as mix_cost
from freelight.benchmarks.geometries import GEOMETRIES
from freelight.benchmarks.machine import machine_facts
from freelight.benchmarks.repeated import repeat_samples
from freelight.benchmarks.report import Report
from freelight.benchmarks.timing import Contender, Lap, Timings
from freelight.commands.benchmark import command as main
from freelight.shards import Dataset, FreelightError


def test_the_executable_lists_its_benchmarks_and_refuses_others() -> None:
    path = TOOLS / "benchmark"
    assert os.access(path, os.X_OK), f"chmod +x {path}"
    assert path.read_text().startswith("#!/usr/bin/env python3\n")
    assert len(path.read_text().splitlines()) <= 66, "one screen"
    result = call(main, "--help")
    assert result.exit_code == 0
    names = "shards pca index loader decode augment train step host free shuffle compare remote peers"
    assert re.findall(r"^  (\w+)  ", result.stdout, re.MULTILINE) == names.split()
    assert call(main, "nonsense").exit_code == 2
    assert call(main, "peers", "nonsense").exit_code == 2


@pytest.mark.slow
def test_loader_by_path_on_tiny_datasets_without_peers(dataset: Dataset, pictures: Path, tmp_path: Path) -> None:
    """Times are not checked, so floors may be missed; our contenders are present, and all peers are absent."""
    record = tmp_path / "record.json"
    words = ("--shards", dataset.folder, "--images", pictures, "--rounds", "1", "--memory-epochs", "6")
    result = run("loader", *words, "--peers", tmp_path, "--record", record)
    assert result.returncode in (0, 1), result.stderr
    written = json.loads(record.read_text())
    compared = ("square 256: ", "shorter 256: ", "original: ")
    absent = {contender["name"]: contender["absent"] for contender in written["contenders"] if contender["absent"]}
    assert absent == {
        f"{prefix}{name}": f"not installed in {tmp_path}; run: freelight benchmark peers {peer}"
        for part, prefixes in ((random_crops, ("",)), (resized_crops, compared))
        for peer, names in {"torchvision": [part.WEBDATASET], "ffcv": part.FFCV.values()}.items()
        for name in names
        for prefix in prefixes
    }
    for contender in written["contenders"]:
        assert contender["absent"] or contender["laps"][0]["items"] == (80 if ": " in contender["name"] else 2 * 60)
    floors = {floor["name"]: floor for floor in written["floors"]}
    unchecked = [name for name, floor in floors.items() if floor["met"] is None]
    assert len(floors) == 22 + 9
    assert len(unchecked) == 6 + 9
    assert all("FFCV" in name or "torchvision" in name or "ResNet-50" in name for name in unchecked)
    assert 0 < floors["order and draws of these"]["value"] < 200
    (table,) = written["tables"]
    assert re.findall(r"^\| (.*?) \| \d+ \| \d+\.\d ", table, re.MULTILINE) == list(GEOMETRIES)
    assert table in result.stdout


@pytest.mark.slow
def test_augment_by_path_on_tiny_pictures_without_peers(pictures: Path, tmp_path: Path) -> None:
    """Times are not checked, so floors may be missed; our contenders and DALI are present, all peers absent."""
    record = tmp_path / "record.json"
    words = ("--images", pictures, "--batch-size", "16", "--rounds", "1", "--peers", tmp_path, "--record", record)
    result = run("augment", *words)
    assert result.returncode in (0, 1), result.stderr
    written = json.loads(record.read_text())
    laps = {contender["name"]: contender["laps"] for contender in written["contenders"]}
    absent = {name for name, found in laps.items() if not found}
    peers = (augment.TENSOR, augment.PIL, augment.TIMM)
    assert absent == {f"{name}: {peer}" for name, row in augment.ROWS.items() for peer in peers if peer in row.compared}
    items = {name: {lap["items"] for lap in found} for name, found in laps.items() if found}
    mixing = {name.removeprefix(mix_cost.GROUP): items.pop(name) for name in list(items) if mix_cost.GROUP in name}
    assert set().union(*items.values()) == {80}
    blended = (mix_cost.LERP, mix_cost.LERP_OUT, mix_cost.MIXUP, mix_cost.CUTMIX)  # ten batches of 16
    assert mixing == {
        **{name: {160} for name in blended},
        **{name: {40} for name in (mix_cost.SHARE, mix_cost.MIXED_SHARE)},
    }
    unchecked = {floor["name"] for floor in written["floors"] if floor["met"] is None}
    assert unchecked == {
        f"{name}: {augment.LOADER} / {peer}"
        for name, row in augment.ROWS.items()
        for peer in peers
        if peer in dict(row.floors)
    }
    (table,) = written["tables"]
    assert re.findall(r"^(.*?)  +-?\d+$", table, re.MULTILINE) == list(augment.OPS)
    assert table in result.stdout


@pytest.mark.slow
def test_train_and_free_by_path_on_tiny_batches(dataset: Dataset, tmp_path: Path) -> None:
    """Times are not checked, so floors may be missed; our contenders are present, and torchvision is absent."""
    records = {}
    for name, words in (("train", ("--peers", tmp_path)), ("free", ("--shards", dataset.folder))):
        record = tmp_path / f"{name}.json"
        result = run(name, "--batch-size", "2", "--rounds", "1", *words, "--record", record)
        assert result.returncode in (0, 1), result.stderr
        records[name] = json.loads(record.read_text())
    laps = {
        contender["name"]: [lap["items"] for lap in contender["laps"]]
        for record in records.values()
        for contender in record["contenders"]
    }
    absent = laps.pop("torchvision's AlexNet")
    assert absent == []
    assert {tuple(items) for items in laps.values()} == {(2,), (4,)}
    assert len(laps) == 7
    assert all(floor["value"] > 0 for record in records.values() for floor in record["floors"])
    share = {figure["name"]: figure["value"] for figure in records["free"]["figures"]}["wait for data"]
    assert 0 < share < 100


@pytest.mark.slow
def test_host_by_path_on_a_tiny_dataset(dataset: Dataset, tmp_path: Path) -> None:
    """Times are not checked, so floors may be missed; every thread has used some of the processor."""
    record = tmp_path / "record.json"
    result = run("host", "--shards", dataset.folder, "--rounds", "1", "--record", record)
    assert result.returncode in (0, 1), result.stderr
    written = json.loads(record.read_text())
    assert [contender["laps"][0]["items"] for contender in written["contenders"]] == [2048] * 4 + [200] * 2
    assert all(measured["value"] > 0 for measured in written["floors"] + written["figures"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (augment.command, ("--images", "any")),
        (decode.command, ("--shards", "any")),
        (free.command, ("--shards", "any")),
        (host.command, ("--shards", "any")),
        (loader.command, ("--shards", "any")),
        (step.command, ()),
        (train.command, ()),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_missing_gpu_is_one_line(command: click.Command, words: tuple[str, ...]) -> None:
    result = call(command, *words, "--device", "cuda")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --device 'cuda' is neither the CPU nor a CUDA device that torch finds\n"


def test_times_of_a_gpu_are_columns_of_the_table() -> None:
    """Medians per batch of 4; a contender without a GPU has none. A CPU's table has no such columns."""
    laps = {"on it": tuple(Lap(8, 1.0, device_ms, 2.0, 0.5) for device_ms in (3.0, 1.0, 2.0)), "beside": (Lap(8, 1.0),)}
    contenders = tuple(Contender(name=name, lap=lambda: Lap(8, 1.0)) for name in laps)
    table = Report(
        benchmark="any",
        item="images",
        settings={},
        machine={**machine_facts(()), "other_work_percent": (0, 0), "load_average_at_end": 0, "busy": False},
        timings=Timings(contenders=contenders, laps=laps),
        floors=(),
    ).table()
    assert re.search(r"contender +images/s +least +most +device ms +host ms +wait ms +images\n", table)
    assert re.search(r"on it +8\.0 +8\.0 +8\.0 +2\.000 +2\.000 +0\.500 +8\n", table)
    assert re.search(r"beside +8\.0 +8\.0 +8\.0 +- +- +- +8\n", table)


def test_decode_compares_pixels_with_the_cpus(dataset: Dataset, tmp_path: Path) -> None:
    """On the CPU a decoded window is the crop of the whole image, so nothing is off. `differences` can see it."""
    record = tmp_path / "record.json"
    words = ("--shards", dataset.folder, "--decode-threads", "1", "--rounds", "1", "--record", record)
    result = call(decode.command, *words)
    assert result.exit_code == 0, result.output
    written = json.loads(record.read_text())
    assert {contender["name"]: contender["laps"][0]["items"] for contender in written["contenders"]} == {
        "window, 1 threads": 60,
        "whole and crop, 1 threads": 60,
    }
    assert re.findall(r"^(\w.*?)  +(\d\.\d+)  +(\d+)$", written["tables"][0], re.MULTILINE) == [
        ("window, 1 threads", "0.000", "0"),
        ("whole and crop, 1 threads", "0.000", "0"),
    ]
    one, other = np.zeros((2, 2, 3), np.int16), np.full((2, 2, 3), 2, np.int16)
    assert decode.differences([one, one], [one, other]) == (1.0, 2)


def test_every_way_to_decode_on_a_gpu_is_defined(dataset: Dataset) -> None:
    """DALI checks devices and arguments when a graph is defined, which needs no GPU."""
    ways = decode.every_way(torch.device("cuda", 0), (1, 4), (0.0, 0.65))
    assert len({str(way) for way in ways}) == 2 * 2 * 2 * 2
    windows = decode.draw_windows(dataset, 0.875)
    assert (windows["shape"] == 224).all()
    assert windows["start"].min() >= 0
    assert windows["start"].max() <= 32
    for way in ways:
        decode.window_epochs([], windows, 4, torch.device("cuda", 0), way)


@pytest.mark.slow
def test_step_by_path_on_a_tiny_network(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    words = ("--width", "0.05", "--batch-size", "2", "--precision", "float32", "--rounds", "1", "--record", record)
    result = run("step", *words)
    assert result.returncode == 0, result.stderr
    written = json.loads(record.read_text())
    assert {contender["name"]: contender["laps"][0]["items"] for contender in written["contenders"]} == {
        f"float32, {order}, {how}, batch 2": 2
        for order in ("NCHW", "channels-last")
        for how in ("compiled", "not compiled")
    }
    assert all(figure["value"] > 0 for figure in written["figures"])


def test_loader_refuses_what_cannot_be_measured(dataset: Dataset, tmp_path: Path) -> None:
    result = call(loader.command, "--shards", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not a finished dataset" in result.stderr
    result = call(loader.command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: there is nothing to load; give --shards, --images or both\n"
    with pytest.raises(FreelightError, match=r"samples \(=0\) must be at least 1"):
        repeat_samples(dataset, "train", 0, tmp_path / "none")


def test_a_dataset_of_release_0_1_can_be_repeated(tmp_path: Path) -> None:
    """Its table has no sizes, but that of the repeated one has."""
    given = Dataset(Path(__file__).parents[1] / "data" / "release-0.1" / "dataset")
    repeated = repeat_samples(given, "train", 45, tmp_path / "repeated").split("train")
    assert repeated.read(44) == given.split("train").read(len(given.split("train")) - 1)


def test_a_repeated_dataset_reads_the_rows_it_repeats(dataset: Dataset, tmp_path: Path) -> None:
    """In the order of the shards, each row twice or once; labels and sources go with them."""
    given = dataset.split("train")
    made = repeat_samples(dataset, "train", 100, tmp_path / "more").split("train")
    rows = [row for row in range(60) for _ in range(1 + (row < 40))]
    assert [made.read(index) for index in range(100)] == [given.read(row) for row in rows]
    assert made.samples["label"].tolist() == given.samples["label"][rows].tolist()
    assert made.sources == [given.sources[row] for row in rows]
