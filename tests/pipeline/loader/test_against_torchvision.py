"""The loader's crops are those of torchvision's own v2 transforms, on 100 pictures of many sizes."""

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mixed import plain
from PIL import Image

from freelight.benchmarks.peers import HOME, find_peer
from freelight.demo.drawing import draw_picture
from freelight.pipeline import CenterCrop, Loader, RandomCrop, RandomResizedCrop, TenCrop, draw_epoch
from freelight.shards import Dataset, Rescaling, ShardSettings, list_images, make_shards

CROPS: dict[str, Any] = {
    f"{kind.__name__} {resize or 0} {interpolation}": kind(
        interpolation=interpolation, **({"resize": resize} if resize else {})
    )
    for kind, resize in (
        (RandomResizedCrop, None),
        (RandomCrop, 256),
        (CenterCrop, 256),
        (CenterCrop, 235),
        (TenCrop, 256),
    )
    for interpolation in ("bilinear", "bicubic")
}


def draw_hundred(folder: Path) -> Dataset:
    """Sides of 60 to 640 pixels, all shapes up to 1:4."""
    (folder / "pictures" / "train" / "drawn").mkdir(parents=True)
    for number in range(100):
        generator = np.random.default_rng(number)
        width = int(generator.integers(60, 640))
        height = int(np.clip(width * np.exp(generator.uniform(-1.4, 1.4)), 60, 640))
        picture = draw_picture(number % 10, generator, (width, height))
        picture.save(folder / "pictures" / "train" / "drawn" / f"{number}.JPEG", quality=90)
    source = list_images(folder / "pictures", val_fraction=None, class_names=None, seed=0)
    make_shards(source, folder / "made", ShardSettings(rescaling=Rescaling(geometry="original")))
    return Dataset(folder / "made")


def compare(dataset: Dataset, samples: int, python: Path, folder: Path) -> dict[str, tuple[float, float, int]]:
    """Return for each crop: mean difference, share of pixels within 4, and greatest difference, in grey levels."""
    split = dataset.split("train")
    draws = draw_epoch(len(split), seed=0, epoch=0)
    chosen = draws.order[:samples]
    pictures = [np.asarray(Image.open(io.BytesIO(split.read(i))).convert("RGB")) for i in chosen.tolist()]
    windows = [
        crop.windows(draws, split.sizes)[chosen] if crop.is_random else np.zeros((samples, 4), np.int32)
        for crop in CROPS.values()
    ]
    arrays = {str(place): picture for place, picture in enumerate(pictures)}
    np.savez(folder / "in.npz", names=list(CROPS), windows=np.stack(windows), **arrays)
    script = Path(__file__).with_name("torchvision_crops.py")
    subprocess.run([python, script, folder / "in.npz", folder / "out.npz"], check=True, env={})
    found = {}
    with np.load(folder / "out.npz") as theirs:
        for name, crop in CROPS.items():
            transform = plain(crop, flip_probability=0.0)
            batch = next(iter(Loader(dataset, "train", batch_size=samples, transform=transform, extras=("samples",))))
            assert np.array_equal(batch.samples, chosen)
            off = np.abs(batch.images.numpy().reshape(theirs[name].shape) - theirs[name].astype(np.int16))
            found[name] = float(off.mean()), float((off <= 4).mean()), int(off.max())
    return found


@pytest.mark.peers
@pytest.mark.slow
def test_crops_are_torchvisions(tmp_path: Path) -> None:
    python = find_peer("torchvision", HOME)
    if python is None:
        pytest.skip("the environment is absent; make it with: tools/benchmark peers torchvision")
    for name, (mean, within, worst) in compare(draw_hundred(tmp_path), 100, python, tmp_path).items():
        print(f"{name}: mean {mean:.3f}, within 4: {within:.5%}, worst {worst}")
        assert mean <= 0.5, name
        assert within >= 0.999, name
