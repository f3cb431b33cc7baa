"""The recipe `paper` holds the paper's values; single settings change by name and type."""

import math

import pytest

from freelight.pipeline import CenterCrop, Lighting, RandomCrop, TenCrop
from freelight.shards import FreelightError
from freelight.train import RECIPES, Recipe

PAPER = RECIPES["paper"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("batch_size", 128),
        ("learning_rate", 0.01),
        ("momentum", 0.9),
        ("weight_decay", 0.0005),
        ("epochs", 90),
        ("plateau_epochs", 5),
        ("plateau_factor", 10.0),
        ("plateau_drops", 3),
        ("lighting", "eigenvalue"),
        ("lighting_strength", 0.1),
        ("lighting_divisor", 1.0),
        ("name", "paper"),
    ],
)
def test_paper_is_as_the_paper_says(setting: str, value: object) -> None:
    assert getattr(PAPER, setting) == value


def test_papers_training_view_is_a_random_224_crop_flip_and_light_less_the_mean_image() -> None:
    transform = PAPER.training_transform(0)
    assert (transform.crop, transform.flip_probability, transform.mean) == (RandomCrop(size=224), 0.5, "image")
    assert (transform.lighting.mode, transform.lighting.strength) == ("eigenvalue", 0.1)


@pytest.mark.parametrize(("views", "crop"), [(1, CenterCrop(size=224)), (10, TenCrop(size=224))])
def test_papers_test_views_are_the_centre_or_ten_less_the_mean_image_without_light(views: int, crop: object) -> None:
    transform = PAPER.evaluation_transform(views)
    assert (transform.crop, transform.mean, transform.shifts_light) == (crop, "image", False)


def test_settings_are_changed_by_name_and_type_and_the_rest_stay() -> None:
    settings = ["batch_size=4", "learning_rate=1e-3", "lighting=off", "lighting_strength=0", "epochs=3", "epochs=2"]
    lit = PAPER.override(["lighting=std", "lighting_divisor=1.1"]).training_transform(0)
    assert lit.lighting == Lighting(mode="std", strength=0.1, divisor=1.1)
    changed = PAPER.override(settings)
    assert changed == Recipe(
        batch_size=4, learning_rate=0.001, bias_learning_rate=0.001, lighting="off", lighting_strength=0.0, epochs=2
    )
    assert isinstance(changed.batch_size, int)
    assert isinstance(changed.lighting_strength, float)
    assert not changed.training_transform(0).shifts_light
    assert Recipe() == PAPER, "the recipe itself is as it was"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batchsize=4", r"--set 'batchsize=4': expected key=value with a key of: crop_size, mean, shared_crops, "),
        ("name=mine", "expected key=value with a key of: "),
        ("epochs", "--set 'epochs': expected key=value"),
        ("epochs=1.5", "--set 'epochs=1.5': epochs takes a whole number"),
        ("momentum=much", "--set 'momentum=much': momentum takes a number"),
        ("lighting=bright", "lighting takes one of eigenvalue, std, off"),
        ("batch_size=0", r"batch_size \(=0\) must be at least 1"),
        ("epochs=0", r"epochs \(=0\) must be at least 1"),
        ("plateau_epochs=0", r"plateau_epochs \(=0\) must be at least 1"),
        ("plateau_drops=-1", r"plateau_drops \(=-1\) must be 0 or more"),
        ("plateau_factor=0", r"plateau_factor \(=0.0\) must be positive"),
        ("learning_rate=-0.1", r"learning_rate \(=-0.1\) must be 0 or more"),
        ("learning_rate=nan", r"learning_rate \(=nan\) must be 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_naming_it(setting: str, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        PAPER.override([setting])


def test_no_setting_is_not_a_number() -> None:
    for setting in ("momentum", "weight_decay", "lighting_strength", "lighting_divisor", "plateau_factor"):
        with pytest.raises(FreelightError, match=setting):
            Recipe(**{setting: math.nan})  # type: ignore[arg-type]
