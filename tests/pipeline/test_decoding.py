"""Windows or whole pictures decode to the same pixels on the CPU; settings reach DALI's decoder on a GPU."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nvidia.dali import fn

from freelight.pipeline import (
    CenterCrop,
    Crop,
    Decoding,
    Lighting,
    Loader,
    RandomCrop,
    RandomResizedCrop,
    TenCrop,
    Transform,
)
from freelight.shards import Dataset, FreelightError, Statistics

WHOLE = Decoding(decode="whole")
Define = Callable[..., list[str]]
GIVEN = {
    "hw_decoder_load": 0.9,
    "preallocate_width_hint": 512,
    "preallocate_height_hint": 384,
    "device_memory_padding": 2**24,
    "host_memory_padding": 2**23,
}
PLAIN: dict[str, Any] = {"mean": "none", "lighting": Lighting(mode="off"), "dtype": "uint8"}
TRANSFORMS = {
    "image": Transform(crop=RandomCrop(size=96)),
    "center window": Transform(crop=RandomCrop(size=96), mean="center window", lighting=Lighting(divisor=1.1)),
    "channel": Transform(crop=RandomCrop(size=96), mean="channel", std=(58.0, 57.0, 56.0)),
    "uint8": Transform(crop=RandomCrop(size=96), **PLAIN),
    "resized crop": Transform(crop=RandomResizedCrop(size=96), **PLAIN),
    "resized whole": Transform(crop=RandomCrop(size=96, resize=120), **PLAIN),
    "center": Transform(crop=CenterCrop(size=96, resize=120), **PLAIN),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_on_the_cpu_whole_pictures_give_the_pixels_of_windows(name: str, dataset: Dataset) -> None:
    batches = []
    for decoding in (Decoding(), WHOLE):
        with Loader(dataset, "train", batch_size=8, transform=TRANSFORMS[name], decoding=decoding) as loader:
            batches.append(next(iter(loader)).images)
    assert torch.equal(*batches)


def decoders_of(
    monkeypatch: pytest.MonkeyPatch, output_devices: Define, crop: Crop, decoding: Decoding, statistics: Statistics
) -> list[Any]:
    """Define the graph of a crop for a GPU; return name and settings of each decoder in it."""
    found: list[Any] = []
    for name in ("image", "image_crop", "image_slice"):
        decode = getattr(fn.decoders, name)

        def noted(*nodes: Any, name: str = name, decode: Any = decode, **settings: Any) -> Any:
            found.append((name, settings))
            return decode(*nodes, **settings)

        monkeypatch.setattr(fn.decoders, name, noted)
    output_devices(Transform(crop=crop, **PLAIN), statistics, decoding=decoding)
    return found


@pytest.mark.parametrize(
    ("crop", "decoder"),
    [
        (RandomCrop(size=96), "image_crop"),
        (RandomCrop(size=96, resize=120), "image_slice"),
        (RandomResizedCrop(size=96), "image_slice"),
        (CenterCrop(size=96), "image"),
        (TenCrop(size=96), "image"),
    ],
)
def test_a_gpus_decoder_takes_the_settings(
    crop: Crop, decoder: str, statistics: Statistics, output_devices: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DALI checks names and types as the graph is defined. Without settings it gets none: its defaults hold."""
    ((name, settings),) = decoders_of(monkeypatch, output_devices, crop, Decoding(**GIVEN), statistics)
    assert (name, settings["device"]) == (decoder, "mixed")
    assert settings.items() >= GIVEN.items()
    ((_, settings),) = decoders_of(monkeypatch, output_devices, crop, Decoding(), statistics)
    assert not settings.keys() & GIVEN.keys()
    ((name, settings),) = decoders_of(monkeypatch, output_devices, crop, Decoding(decode="whole", **GIVEN), statistics)
    assert name == "image"
    assert settings.items() >= GIVEN.items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decode": "part"}, r"`decode` \(='part'\) must be one of window, whole"),
        ({"hw_decoder_load": 1.5}, r"`hw_decoder_load` \(=1.5\) must lie in 0..1"),
        ({"preallocate_width_hint": -1}, r"`preallocate_width_hint` \(=-1\) must be at least 0"),
        ({"device_memory_padding": "16 MB"}, r"`device_memory_padding` \(='16 MB'\) must be a whole number"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Decoding(**settings)


def test_a_loader_keeps_its_decoding_when_it_is_pickled(dataset: Dataset) -> None:
    """On the CPU a GPU's settings are ignored: a script may run on either."""
    with Loader(dataset, "val", batch_size=4, decoding=Decoding(**GIVEN)) as loader:
        assert len(next(iter(loader)).labels) == 4
        assert pickle.loads(pickle.dumps(loader)).decoding == loader.decoding
    with pytest.raises(FreelightError, match=r"`decoding` \(='whole'\) must be a Decoding"):
        Loader(dataset, "val", batch_size=4, decoding="whole")  # type: ignore[arg-type]
