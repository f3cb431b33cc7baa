"""The peers' loaders, in their own environments: each sample once an epoch, cropped, normalised, of the right type."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freelight.benchmarks.peers import HOME, find_peer
from freelight.benchmarks.process import freelight_alone
from freelight.shards import Rescaling, ShardSettings, list_images, make_shards

pytestmark = [pytest.mark.slow, pytest.mark.peers]
COUNT = 24
MEANS, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
SHOW = """
import json, sys
from freelight.benchmarks.{module} import open_loader
if __name__ == "__main__":
    with open_loader(*sys.argv[1:]) as loader:
        for epoch in range(2):
            for images, labels in loader:
                low, high = images.amin((2, 3)), images.amax((2, 3))
                print(json.dumps([epoch, str(images.dtype), list(images.shape[1:]), labels.flatten().tolist(),
                                  low.tolist(), high.tolist()]))
"""


AUGMENT = """
import json, sys
from freelight.benchmarks.{module} import AUGMENTATIONS, open_loader
if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    for augmentation in AUGMENTATIONS:
        with open_loader(*(augmentation if word == "AUGMENTATION" else word for word in words)) as loader:
            for images, labels in loader:
                sums = labels.sum(1).tolist() if labels.ndim == 2 else None
                low, high = images.amin((2, 3)), images.amax((2, 3))
                print(json.dumps([augmentation, str(images.dtype), list(images.shape[1:]), sums,
                                  None if sums else labels.tolist(), low.tolist(), high.tolist()]))
"""


@pytest.fixture(scope="module")
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3))


@pytest.fixture(scope="module")
def folders(colours: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Datasets for both crops, squares and whole pictures of different sizes, in two shards.

    The pictures have one colour each, one per class: any crop of one has its colour.
    """
    top = tmp_path_factory.mktemp("colours")
    for number, colour in enumerate(colours):
        path = top / "pictures" / "train" / f"n{number:08d}" / "0.JPEG"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (500 - 10 * number, 230 + 10 * number), tuple(colour.tolist())).save(path, quality=95)
    source = list_images(top / "pictures", val_fraction=None)
    for crop, geometry in (("random", "square"), ("resized", "original")):
        settings = ShardSettings(rescaling=Rescaling(geometry=geometry), samples_per_shard=COUNT // 2)
        make_shards(source, top / crop, settings)
    return {crop: top / crop for crop in ("random", "resized")}


@pytest.mark.parametrize(
    ("peer", "crop", "mode"),
    [
        ("ffcv", "random", "uint8"),
        ("ffcv", "random", "raw"),
        ("ffcv", "random", "raw-float32"),
        ("ffcv", "resized", "float32"),
        ("torchvision", "random", "float32"),
        ("torchvision", "resized", "float32"),
    ],
)
def test_a_peer_loads_every_sample_once_an_epoch_with_its_own_pixels(
    peer: str, crop: str, mode: str, folders: dict[str, Path], colours: np.ndarray, tmp_path: Path
) -> None:
    """Within two grey levels of its colour, so a swapped channel, mean or divisor would show."""
    python = find_peer(peer, HOME)
    if python is None:
        pytest.skip(f"the environment is absent; make it with: tools/benchmark peers {peer}")
    module = "ffcv_loader" if peer == "ffcv" else "webdataset_loader"
    script = tmp_path / "show.py"
    script.write_text(SHOW.format(module=module))
    words = [str(folders[crop]), crop, "10", *([mode] if peer == "ffcv" else ["tensor", "plain"])]
    words += map(str, (*MEANS, *STD))
    with freelight_alone() as environment:
        done = subprocess.run(
            [str(python), str(script), *words], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    batches = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    is_float = mode.endswith("float32")
    seen: list[list[int]] = [[], []]
    for epoch, dtype, shape, labels, low, high in batches:
        assert (dtype, shape) == ("torch.float32" if is_float else "torch.uint8", [3, 224, 224])
        seen[epoch] += labels
        expected = (colours[labels] - MEANS) / STD if is_float else colours[labels]
        bound = 2 / np.array(STD) if is_float else 2
        assert (np.abs(np.array([low, high]) - expected) <= bound).all()
    assert [sorted(labels) for labels in seen] == [list(range(COUNT))] * 2
    assert seen[0] != seen[1], "each epoch has its own order"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("webdataset_loader", ("resized", "10", "tensor", "AUGMENTATION")),
        ("webdataset_loader", ("resized", "10", "PIL", "AUGMENTATION")),
        ("timm_loader", ("10", "AUGMENTATION")),
    ],
)
def test_a_peer_augments_normalized_images(
    module: str, words: tuple[str, ...], folders: dict[str, Path], colours: np.ndarray, tmp_path: Path
) -> None:
    """Plain crops have their own colour, all others have not; mixed labels sum to 1."""
    python = find_peer("torchvision", HOME)
    if python is None:
        pytest.skip("the environment is absent; make it with: tools/benchmark peers torchvision")
    script = tmp_path / "show.py"
    script.write_text(AUGMENT.format(module=module))
    given = json.dumps([str(folders["resized"]), *words, *map(str, (*MEANS, *STD))])
    with freelight_alone() as environment:
        done = subprocess.run(
            [str(python), str(script), given], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    differences: dict[str, float] = {}
    for line in done.stdout.splitlines():
        augmentation, dtype, shape, sums, labels, low, high = json.loads(line)
        assert (dtype, shape) == ("torch.float32", [3, 224, 224])
        if augmentation == "mixed":
            assert np.allclose(sums, 1)
            continue
        expected = (colours[labels] - MEANS) / STD
        difference = (np.abs(np.array([low, high]) - expected) * STD).max()
        differences[augmentation] = max(difference, differences.get(augmentation, 0))
    assert differences.pop("plain") <= 2
    assert min(differences.values()) > 10
    assert set(differences) == {"jitter", "rand", *(() if module == "timm_loader" else ("trivial",))}
