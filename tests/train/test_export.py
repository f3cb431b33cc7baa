"""`freelight export`: a network in files that other software reads gives the logits that it gives here."""

import dataclasses
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from document_blocks import read_page
from PIL import Image
from safetensors import safe_open

from freelight.shards import FreelightError
from freelight.train import RECIPES, Checkpoint, Network, Recipe, predict_files
from freelight.train.exporting import export_network
from freelight.train.exporting.plain_torch import plain_torch

DOCUMENT = Path(__file__).parents[2] / "docs/howto/use-a-trained-network.md"
WITHOUT_FREELIGHT = """
import runpy, sys, torch
from pathlib import Path
sys.modules["freelight"] = None
for module in Path(sys.argv[1]).glob("*.py"):
    network = runpy.run_path(str(module))["network"]
    saved = torch.load(module.with_suffix(".pt"), weights_only=True)
    images = torch.rand(3, *saved["mean_image"].shape, generator=torch.Generator().manual_seed(0)) * 255
    crop = (saved["image_size"] - saved["crop_size"]) // 2 + torch.arange(saved["crop_size"])
    inputs = (images - saved["mean_image"])[:, :, crop][..., crop]
    torch.save((inputs, network(inputs).detach()), module.with_suffix(".logits"))
"""


def narrow(name: str, **network: Any) -> Recipe:
    """Return a recipe with a network of a twentieth of the width."""
    recipe = RECIPES[name]
    return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, width=0.05, **network))


VARIANTS = {
    "paper": narrow("paper"),
    "source": narrow("source"),
    "half": narrow("paper", architecture="half", removed="conv4", pooling="2/2", activation="tanh"),
    "no-links": narrow("paper", architecture="no-links", bottleneck=True, dropout=0.3),
    "one-pixel": dataclasses.replace(narrow("paper"), crop_size=67),
    "float64": dataclasses.replace(narrow("source"), precision="float64"),
    **{name: narrow(name) for name in RECIPES if name.startswith("cifar")},
}


@pytest.fixture(scope="module")
def trained(run: Path) -> Checkpoint:
    return Checkpoint.load(run / "last.pt")


def with_recipe(trained: Checkpoint, recipe: Recipe, classes: int = 10) -> Checkpoint:
    """Return a checkpoint of a recipe whose weights keep activations large enough for normalisation to matter."""
    network = Network(recipe.network, classes=classes, crop=recipe.crop_size)
    drawn = torch.Generator().manual_seed(0)
    weights = {}
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel() if "local" not in name else parameter.shape[-1]
        spread = (2 / fan_in) ** 0.5 if name.endswith("weight") else 1
        weights[name] = torch.randn(parameter.shape, generator=drawn) * spread
    if recipe.precision == "float64":
        weights = {name: weight.double() for name, weight in weights.items()}
    names = [f"class-{label}" for label in range(classes)]
    return dataclasses.replace(trained, recipe=recipe, weights=weights, class_ids=names, class_names=names)


@pytest.fixture(scope="module")
def exported(trained: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every variant as `NAME.pt` and `NAME.py`, with what another process computed, `NAME.logits`."""
    folder = tmp_path_factory.mktemp("exported")
    for name, recipe in VARIANTS.items():
        export_network(with_recipe(trained, recipe), folder / f"{name}.pt")
    run_without_freelight(folder)
    return folder


def run_without_freelight(folder: Path) -> None:
    """Write the inputs and logits of every network in a folder, in a process that cannot import Freelight."""
    words = [sys.executable, "-W", "error", "-c", WITHOUT_FREELIGHT, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def largest_difference(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest logit."""
    assert logits.shape == expected.shape
    return float((logits - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", VARIANTS)
def test_plain_pytorch_gives_the_same_logits_without_freelight(name: str, exported: Path, trained: Checkpoint) -> None:
    check_logits(exported / f"{name}.logits", with_recipe(trained, VARIANTS[name]))


def check_logits(path: Path, checkpoint: Checkpoint) -> None:
    """Assert that the logits in a file, of three images, are those of a checkpoint's network."""
    inputs, logits = torch.load(path, weights_only=True)
    assert logits.dtype == torch.float32
    with torch.no_grad():
        expected = checkpoint.network().float()(inputs)
    assert largest_difference(logits, expected) <= 1e-5
    assert largest_difference(expected[:1], expected[1:2]) > 1e-3, "so that the comparison says something"


@pytest.mark.parametrize("name", VARIANTS)
def test_onnxruntime_gives_the_same_logits_for_any_number_of_images(
    name: str, trained: Checkpoint, tmp_path: Path
) -> None:
    """From pixels of 0-255: the graph subtracts the centre of the mean image."""
    checkpoint = with_recipe(trained, VARIANTS[name])
    written = export_network(checkpoint, tmp_path / "net.onnx")
    assert written.difference is not None
    assert written.difference <= 1e-5
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(5, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 255
    crop = checkpoint.recipe.crop_size
    window = (256 - crop) // 2 + torch.arange(crop)
    pixels = images[:, :, window][..., window]
    less_mean = images - torch.as_tensor(trained.statistics.mean_image).permute(2, 0, 1)
    with torch.no_grad():
        expected = checkpoint.network().float()(less_mean[:, :, window][..., window])
    for count in (1, 5):
        (logits,) = session.run(None, {"images": pixels[:count].numpy()})
        assert largest_difference(torch.from_numpy(logits), expected[:count]) <= 1e-5
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_ids"]) == checkpoint.class_ids
    assert metadata["input"].endswith("RGB, 0-255; the graph subtracts the mean image's centre crop")


def test_an_onnx_file_is_written_only_if_onnxruntime_gives_the_networks_logits(
    run: Path, trained: Checkpoint, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the weights overflow, it does not."""
    checkpoint = with_recipe(trained, VARIANTS["cifar-19pct"])
    checkpoint.weights["conv1.weight"].fill_(1e38)
    with pytest.raises(FreelightError, match=r"net\.onnx is not written: onnxruntime's logits differ"):
        export_network(checkpoint, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
    words = ["export", "--checkpoint", run / "last.pt", "--out", tmp_path / "net.onnx"]
    compared = call(*words)
    assert compared.exit_code == 0, compared.output
    assert re.fullmatch(
        r"onnxruntime's logits differ from the network's by at most \d\.\de-0[67] of the largest",
        compared.stdout.splitlines()[1],
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert call(*words).stdout.splitlines()[1].startswith("not compared with the network, because there is no onnxrun")


def python_blocks() -> list[str]:
    """Return the Python blocks of the how-to document."""
    return [block.code for block in read_page(DOCUMENT).blocks if block.language == "python"]


def test_the_document_shows_the_lines_that_are_written_for_the_recipe_paper() -> None:
    with torch.device("meta"):
        network = Network(RECIPES["paper"].network, classes=1000)
    assert python_blocks()[0] == plain_torch(network, 224)


@pytest.mark.slow
def test_the_lines_in_the_document_use_the_papers_network(trained: Checkpoint, tmp_path: Path) -> None:
    checkpoint = with_recipe(trained, RECIPES["paper"], classes=1000)
    export_network(checkpoint, tmp_path / "alexnet.pt")
    (tmp_path / "alexnet.py").write_text(python_blocks()[0])
    run_without_freelight(tmp_path)
    check_logits(tmp_path / "alexnet.logits", checkpoint)


def test_a_picture_is_classified_as_the_document_says(
    trained: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By plain PyTorch and by ONNX."""
    checkpoint = with_recipe(trained, VARIANTS["paper"])
    Image.linear_gradient("L").convert("RGB").resize((500, 400)).save(tmp_path / "picture.jpg")
    (expected,) = predict_files(checkpoint, [tmp_path / "picture.jpg"], views=1)
    for suffix in (".pt", ".onnx"):
        export_network(checkpoint, tmp_path / f"alexnet{suffix}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "freelight", None)
    for block in python_blocks()[1:]:
        Path("classify.py").write_text(block)
        runpy.run_path("classify.py")
    monkeypatch.delitem(sys.modules, "alexnet")
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    best = [top.class_id for top in expected.top_classes]
    assert [class_id for class_id, _, _ in printed] == [*best, *best]
    probabilities = [top.probability for top in expected.top_classes]
    assert [float(number) for _, _, number in printed[:5]] == pytest.approx(probabilities, abs=0.02)
    logits = torch.tensor([float(number) for _, _, number in printed[5:]])
    ratios = torch.tensor(probabilities).log().diff()
    assert logits.diff().tolist() == pytest.approx(ratios.tolist(), abs=0.1)


def test_safetensors_hold_the_weights_the_mean_image_and_what_their_use_needs(
    run: Path, trained: Checkpoint, call: Any, tmp_path: Path
) -> None:
    out = tmp_path / "net.safetensors"
    done = call("export", "--checkpoint", run / "last.pt", "--out", out)
    assert done.exit_code == 0, done.output
    count = sum(weight.numel() for weight in trained.weights.values())
    assert done.stdout == f"{out}: {count:,} parameters, 10 classes, recipe paper\n"
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    mean_image = tensors.pop("mean_image")
    assert torch.equal(mean_image.permute(1, 2, 0), torch.as_tensor(trained.statistics.mean_image))
    assert tensors.keys() == trained.weights.keys()
    assert all(torch.equal(tensors[name], weight) for name, weight in trained.weights.items())
    assert json.loads(metadata["class_ids"]) == trained.class_ids
    assert json.loads(metadata["class_names"]) == trained.class_names
    assert (metadata["recipe"], metadata["mean"], metadata["crop_size"]) == ("paper", "image", "224")
    assert metadata["input"] == "float32 (N, 3, 224, 224): RGB crops, 0-255, less the same crop of mean_image"
    assert list(tmp_path.iterdir()) == [out]


def test_a_network_in_float64_is_written_in_float32(trained: Checkpoint, tmp_path: Path) -> None:
    checkpoint = with_recipe(trained, VARIANTS["float64"])
    export_network(checkpoint, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("conv2.weight"), checkpoint.weights["conv2.weight"].float())
    checkpoint.weights["conv2.weight"][0, 0, 0, 0] = 1e300
    with pytest.raises(FreelightError, match="too large for float32"):
        export_network(checkpoint, tmp_path / "large.safetensors")
    assert not (tmp_path / "large.safetensors").exists()


def test_an_export_is_replaced_but_nothing_else(run: Path, call: Any, trained: Checkpoint, tmp_path: Path) -> None:
    """`--out RUN/last.pt` is the checkpoint itself, and `--out train.pt` would write train.py."""
    words = ["export", "--checkpoint", run / "last.pt", "--out"]
    before = (run / "last.pt").read_bytes()
    refused = call(*words, run / "last.pt")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"error: {run}/last.pt exists and is no export; choose another --out\n"
    assert (run / "last.pt").read_bytes() == before
    (tmp_path / "train.py").write_text("print('mine')\n")
    assert "train.py exists" in call(*words, tmp_path / "train.pt").stderr
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
    assert call(*words, tmp_path / "net.pt").exit_code == 0
    again = call(*words, tmp_path / "net.pt")
    assert (again.exit_code, again.stdout.partition(": ")[0]) == (0, f"{tmp_path}/net.pt and {tmp_path}/net.py")


def test_another_ending_and_a_missing_package_are_one_line(
    run: Path, call: Any, trained: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["export", "--checkpoint", run / "last.pt", "--out"]
    refused = call(*words, tmp_path / "net.h5")
    assert refused.exit_code == 2
    assert refused.stderr.endswith(f"{tmp_path}/net.h5 must end in .safetensors or .pt or .onnx\n")
    with pytest.raises(FreelightError, match=r"net\.h5 must end in"):
        export_network(trained, tmp_path / "net.h5")
    for module, name in (("safetensors.torch", "net.safetensors"), ("onnx", "net.onnx")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, "freelight.train.exporting.onnx_file", raising=False)
        monkeypatch.delitem(sys.modules, "freelight.train.exporting.onnx_graph", raising=False)
        missing = call(*words, tmp_path / name)
        package = module.partition(".")[0]
        remedy = "install it with: pip install 'freelight[export]'"
        expected = f"error: {tmp_path / name} needs the package {package}; {remedy}\n"
        assert (missing.exit_code, missing.stderr) == (2, expected)
    assert list(tmp_path.iterdir()) == []
