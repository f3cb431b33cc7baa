"""A checkpoint whose file is whole but whose content is not is one line that names the entry, and takes no memory."""

import copy
import math
import os
import pickle
import resource
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from freelight.shards import FreelightError
from freelight.train import Checkpoint

Content = dict[str, Any]


@pytest.fixture(scope="module")
def whole(run: Path) -> Content:
    content: Content = torch.load(run / "last.pt", weights_only=True)
    return content


def changed(whole: Content, entry: str, value: object) -> Content:
    """Return the content with another value at an entry such as `progress/step`; `...` removes it."""
    content = copy.deepcopy(whole)
    *path, last = entry.split("/")
    part = content
    for key in path:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return content


def error_of(content: Content, path: Path) -> str:
    torch.save(content, path)
    with pytest.raises(FreelightError) as raised:
        Checkpoint.load(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: "), "it must name the file"
    assert message.endswith("; name another file")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ").removesuffix("; name another file")


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("recipe", ..., "recipe is missing"),
        ("recipe", [], "recipe (=[]) must be an object"),
        ("recipe/crop_size", 10**9, "crop_size (=1000000000) must be at most 65500, the limit of a JPEG"),
        ("recipe/crop_size", 300, "crop_size (=300) must be at most image_size (=256)"),
        ("recipe/crop_size", 5, "crop_size (=5) is too small for the network; make it larger"),
        ("recipe/batch_size", 4.0, "batch_size (=4.0) must be a whole number"),
        ("recipe/batch_size", True, "batch_size (=True) must be a whole number"),
        ("recipe/order", "random", "order (='random') must be one of global, sequential"),
        ("recipe/name", None, "name (=None) must be a string"),
        ("recipe/new_setting", 1, "recipe.new_setting is unknown to this version"),
        ("recipe/network/width", ..., "recipe.network.width is missing"),
        ("recipe/network/width", 1e308, "width (=1e+308) must be positive, and at most 100"),
        ("recipe/network/sixth_conv", 1, "sixth_conv (=1) must be true or false"),
        ("recipe/layer_rates/numbers", (("conv", "x"),), "numbers (=(('conv', 'x'),)) must be a tuple (each a tuple"),
        ("recipe/header/published", 3, "recipe.header.published (=3) must be a tuple"),
        ("recipe/drop_epochs", None, "drop_epochs (=None) must be a tuple (each a whole number)"),
        ("seed", -1, "seed (=-1) must be an integer in 0..4294967295"),
        ("weights", None, "weights (=None) must be an object"),
        ("weights/conv1.weight", ..., "weights.conv1.weight is missing"),
        ("weights/conv1.weight", "x", "weights.conv1.weight (='x') must be a tensor of torch.float32 with the shape"),
        ("weights/fc9.weight", torch.zeros(1), "weights.fc9.weight is unknown to this version"),
        (
            "velocity/fc8.bias",
            torch.zeros(10).double(),
            "velocity.fc8.bias is a tensor of torch.float64 with the shape",
        ),
        (
            "velocity/fc8.bias",
            torch.zeros(1),
            "velocity.fc8.bias is a tensor of torch.float32 with the shape (1,), not",
        ),
        (
            "velocity/fc8.bias",
            torch.zeros(1).expand(10**12),
            "velocity.fc8.bias is a tensor of torch.float32 with the shape (1000000000000,), not a",
        ),
        ("class_ids", [f"n{number}" for number in range(9)], "weights.fc8.weight is a tensor of torch.float32 with"),
        ("class_names", ["disc"] * 9, "class_names has 9 names for 10 classes"),
        ("class_ids", ["n1"] * 10, "class_ids has a class id twice"),
        ("class_ids", [*range(10)], "class_ids[0] (=0) must be a string that is not empty"),
        ("class_names", "ten classes", "class_names (='ten classes') must be a list"),
        ("image_size", 10**15, "image_size (=1000000000000000) must be an integer in 1..65500"),
        ("image_size", 300, "statistics.mean_image is a tensor of torch.float32 with the shape (256, 256, 3), not"),
        ("rescaling/quality", 0.5, "quality (=0.5) must be a whole number"),
        ("fingerprint", "../x", "fingerprint (='../x') must be a sha256 of 64 hexadecimal digits"),
        ("statistics/mean", ..., "statistics.mean is missing"),
        ("statistics/images", 0, "statistics: images (=0) must be at least 1"),
        ("statistics/eigenvalues", -torch.ones(3).double(), "statistics: eigenvalues must lie in 0..3*255**2"),
        ("statistics/split", "../x", "statistics: split (='../x') must be a name of letters"),
        ("progress/step", None, "progress.step (=None) must be an integer in 0.."),
        ("progress/loader/position", -1, "progress.loader.position (=-1) must be an integer in 0.."),
        ("progress/loader/epoch", 10**6, "progress.loader.epoch (=1000000) must be an integer in 0..2"),
        ("progress/schedule/best", NAN, "progress.schedule.best (=nan) must be a finite number"),
        ("progress/schedule/drops", 10**9, "progress.schedule.drops (=1000000000) must be an integer in 0..4"),
    ],
)
def test_a_wrong_entry_is_named(entry: str, value: object, message: str, whole: Content, tmp_path: Path) -> None:
    assert error_of(changed(whole, entry, value), tmp_path / "x.pt").startswith(message)


@pytest.mark.parametrize("entry", ["weights/conv3.weight", "velocity/fc8.bias", "statistics/covariance"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_one_number_that_is_not_finite_is_found(entry: str, value: float, whole: Content, tmp_path: Path) -> None:
    """A network with NaN in its weights evaluated as "100 %", with exit code 0."""
    content = copy.deepcopy(whole)
    part, _, name = entry.partition("/")
    content[part][name].view(-1)[-1] = value
    message = f"{part}.{name} has values that are not finite (NaN or infinity)"
    assert error_of(content, tmp_path / "x.pt") == message


def test_the_lowest_error_before_the_first_validation_is_infinite(whole: Content, tmp_path: Path) -> None:
    torch.save(changed(whole, "progress/schedule/best", INF), tmp_path / "x.pt")
    assert Checkpoint.load(tmp_path / "x.pt").progress["schedule"]["best"] == INF


@pytest.mark.parametrize("kind", ["compressed", "bytearray", "huge-number", "pipe"])
def test_a_size_that_the_file_declares_takes_no_memory(kind: str, whole: Content, tmp_path: Path) -> None:
    """Zeros deflate to a thousandth, and torch lets a pickle make a byte array of any length."""
    path = tmp_path / "x.pt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge-number":
        torch.save({**whole, "seed": 10**5000}, path)
    elif kind == "compressed":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("archive/data.pkl", "w", force_zip64=True) as member,
        ):
            for _ in range(256):
                member.write(bytes(1 << 20))
    else:
        pickled = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05" + (1 << 33).to_bytes(5, "little") + b"\x85R."
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/byteorder", "little")
            archive.writestr("archive/version", "3\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        FreelightError, match=r"x\.pt is (damaged or not a checkpoint|not a regular file); name another"
    ):
        Checkpoint.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"


def test_steps_that_do_not_match_epoch_and_position_do_not_resume(whole: Content, train: Any, tmp_path: Path) -> None:
    torch.save(changed(whole, "progress/step", 7), tmp_path / "last.pt")
    result = train.here(tmp_path)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: the checkpoint in {tmp_path} has done 7 steps, but its epoch 2 and position 0 make 8; it is damaged, "
        "use another --out\n"
    )


@pytest.mark.parametrize("kind", ["pickle-before", "comment", "locator", "script"])
def test_what_is_checked_is_what_torch_reads(kind: str, whole: Content, tmp_path: Path) -> None:
    """torch and `zipfile` may find two contents in one file. torch also warns of an archive of TorchScript."""
    path = tmp_path / "x.pt"
    torch.save(whole, path, _use_new_zipfile_serialization=kind != "pickle-before")
    data = path.read_bytes()
    if kind == "pickle-before":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
    elif kind == "comment":
        path.write_bytes(data[:-2] + len(data).to_bytes(4, "little")[:2] + bytes(len(data) & 0xFFFF))
    elif kind == "locator":
        place = data.rindex(b"PK\x06\x07") + 8
        path.write_bytes(data[:place] + bytes(8) + data[place + 8 :])
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("x/constants.pkl", pickle.dumps(0, 2))
    with pytest.raises(FreelightError, match=r"x\.pt is damaged or not a checkpoint; name another file"):
        Checkpoint.load(path)


@pytest.mark.parametrize("entry", ["weights/conv2.weight", "statistics/mean_image"])
def test_a_tensor_that_repeats_its_bytes_is_refused(entry: str, whole: Content, tmp_path: Path) -> None:
    """One number can declare a tensor of any size, which checks and copies then take the memory of."""
    part, name = entry.split("/")
    repeated = torch.zeros(1).expand(whole[part][name].shape)
    message = error_of(changed(whole, entry, repeated), tmp_path / "x.pt")
    assert message == f"{part}.{name} has fewer bytes than its shape {tuple(repeated.shape)} needs"
