"""The recipe `paper` holds the paper's values; single settings change by name and type."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from freelight.pipeline import CenterCrop, Lighting, RandomCrop, TenCrop
from freelight.shards import FreelightError
from freelight.train import RECIPES, Header, Recipe
from freelight.train.cli import main
from freelight.train.optimizer import PaperSGD
from freelight.train.recipes import load_recipe

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
    transform = PAPER.training_transforms().at(0)
    assert (transform.crop, transform.flip_probability, transform.mean) == (RandomCrop(size=224), 0.5, "image")
    assert (transform.lighting.mode, transform.lighting.strength) == ("eigenvalue", 0.1)


@pytest.mark.parametrize(("views", "crop"), [(1, CenterCrop(size=224)), (10, TenCrop(size=224))])
def test_papers_test_views_are_the_centre_or_ten_less_the_mean_image_without_light(views: int, crop: object) -> None:
    transform = PAPER.evaluation_transform(views)
    assert (transform.crop, transform.mean, transform.shifts_light) == (crop, "image", False)


def test_settings_are_changed_by_name_and_type_and_the_rest_stay() -> None:
    settings = ["batch_size=4", "learning_rate=1e-3", "lighting=off", "lighting_strength=0", "epochs=3", "epochs=2"]
    lit = PAPER.override(["lighting=std", "lighting_divisor=1.1"]).training_transforms().at(0)
    assert lit.lighting == Lighting(mode="std", strength=0.1, divisor=1.1)
    changed = PAPER.override(settings)
    assert changed == Recipe(
        batch_size=4, learning_rate=0.001, bias_learning_rate=0.001, lighting="off", lighting_strength=0.0, epochs=2
    )
    assert isinstance(changed.batch_size, int)
    assert isinstance(changed.lighting_strength, float)
    assert not changed.training_transforms().at(0).shifts_light
    assert Recipe() == PAPER, "the recipe itself is as it was"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("widht=3", r"`settings` 'widht=3': there is no setting widht; did you mean width\?"),
        (
            "qq=3",
            "there is no setting qq; there are: crop_size, crops, flip_probability, .* upper_conv_std, initial_bias",
        ),
        ("header=mine", "there is no setting header"),
        ("epochs", "`settings` 'epochs': expected key=value; `show_recipe` prints all keys"),
        ("epochs=1.5", "`settings` 'epochs=1.5': epochs takes a whole number"),
        ("momentum=much", "`settings` 'momentum=much': momentum takes a number"),
        ("lighting=bright", "lighting takes one of eigenvalue, std, off"),
        ("batch_size=0", r"`batch_size` \(=0\) must be at least 1"),
        ("epochs=0", r"`epochs` \(=0\) must be at least 1"),
        ("plateau_epochs=0", r"`plateau_epochs` \(=0\) must be at least 1"),
        ("plateau_drops=-1", r"`plateau_drops` \(=-1\) must be 0 or more"),
        ("plateau_factor=0", r"`plateau_factor` \(=0.0\) must be positive"),
        ("crops=none", "crops takes one of random, center"),
        ("flip_probability=1.5", r"`flip_probability` \(=1.5\) must lie in 0..1"),
        ("learning_rate=-0.1", r"`learning_rate` \(=-0.1\) must be 0 or more"),
        ("learning_rate=nan", r"`learning_rate` \(=nan\) must be 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_an_error_naming_it(setting: str, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        PAPER.override([setting])


def test_no_setting_is_not_a_number() -> None:
    for setting in ("momentum", "weight_decay", "lighting_strength", "lighting_divisor", "plateau_factor"):
        with pytest.raises(FreelightError, match=setting):
            Recipe(**{setting: math.nan})  # type: ignore[arg-type]


ROWS = {
    "rescale": ("shorter side to 256, then the central crop", "shorter side to 256, then the central crop"),
    "mean image": ("follows crop and flip", "its centre window for every crop"),
    "crop offsets": ("offsets 0..32.*for each image", "offsets 0..32.*for 32 consecutive images"),
    "lighting": ("lambda of 0-1 pixels, scaled back", r"sqrt\(lambda\) on 0-255, .*, then / 1.1, off from epoch 67"),
    "order": ("a fresh permutation each epoch", "as written, every epoch"),
    "conv1 order": ("conv, ReLU, LRN, pool", "conv, LRN, pool, ReLU"),
    "LRN": (r"2 \+ 1e-4 sum", r"2 \+ 1e-4/5 sum"),
    "second norm": ("none", r"5x5 within a map, x / \(1 \+ 4e-5 sum x\*\*2\)\*\*0.75"),
    "initial sigma": ("0.01 everywhere", "0.01, but 0.03 in conv3, conv4, conv5"),
    "initial biases": ("1 in conv2, conv4, conv5, fc6, fc7; 0 elsewhere", "1 in conv2, conv4, conv5, fc6, fc7; 0 else"),
    "dropout": ("mask in training with p = 0.5, activations x 0.5 at test", "mask in training with p = 0.5"),
    "weight decay": ("weights 0.0005, biases 0.0005", "weights 0.0005, biases 0"),
    "learning rate": (
        "0.01; / 10 after 5 epochs without a new best centre-view top-1 on val, 3 times; end at the next, or .* 90 ",
        "weights 0.01 / 10 at 25, 51, 79; biases 0.02 / 10 at 25; end after 91 epochs",
    ),
    "conv1's rate": ("as the others'", "1e-05 from epoch 67, frozen from 72"),
    "fc8": ("split over the columns", "split over the columns"),
}
"""The rows of docs/design/paper.md section 6 for `paper` and `source`."""


def shown(name: str, *more: str) -> tuple[str, dict[str, str]]:
    """Return the header and the topics that --show-recipe prints."""
    result = CliRunner().invoke(main, ["--show-recipe", name, *more])
    assert result.exit_code == 0, result.output
    header, topics, _ = result.stdout.split("\n\n")
    lines = (line.split("  ", 1) for line in topics.splitlines())
    return header, {row: text.strip() for row, text in lines}


@pytest.mark.parametrize("name", RECIPES)
def test_show_recipe_prints_a_header_that_says_what_was_published_and_what_was_run(name: str) -> None:
    header, _ = shown(name)
    assert f"--recipe {name}" in header
    for word in ("command:", "published:", "hardware:", "not run here"):
        assert word in header


@pytest.mark.parametrize("name", ["paper", "source", "source-scripted"])
def test_show_recipe_prints_every_row_of_what_the_recipes_mean(name: str) -> None:
    _, rows = shown(name)
    for row, (paper, source) in ROWS.items():
        if name != "source-scripted" or row not in ("learning rate", "conv1's rate"):
            assert re.search(paper if name == "paper" else source, rows[row]), row
    if name == "source-scripted":
        assert rows["learning rate"] == (
            "weights 0.01 / 250 in 4 equal parts; biases 0.02 / 10 at 45; end after 90 epochs"
        )


def test_show_recipe_shows_what_set_changes() -> None:
    result = CliRunner().invoke(main, ["--show-recipe", "paper", "--set", "lighting=off", "--set", "removed=conv4"])
    assert re.search(r"lighting +none\n", result.stdout)


@pytest.mark.parametrize(
    ("name", "decay", "sigma", "norm"),
    [
        ("19pct", "weights 0.004, biases 0, fc10.weight 1", "0.0001 in conv1, 0.01 in conv2, 0.01 in conv3", "none"),
        ("18pct", "weights 0.004, biases 0, fc10.weight 1", "0.0001 in conv1, 0.01 in conv2, 0.01 in conv3", "3x3"),
        ("13pct", "weights 0.004, biases 0, conv 0", "0.0001 in conv1, .* 0.04 in local4, 0.01 in fc10", "none"),
        ("11pct", "weights 0.004, biases 0, conv 0, fc10.weight 0.01", "0.04 in local3", "1 \\+ 0.000111 .* 9 maps"),
    ],
)
def test_the_cifar_nets_have_the_rates_decays_and_views_of_the_2012_code(
    name: str, decay: str, sigma: str, norm: str
) -> None:
    """docs/design/paper.md section 7: crops of 24 of 32 pixels with flips, rates of .001 and .002, and no lighting."""
    _, rows = shown(f"cifar-{name}")
    assert rows["rescale"] == "make_shards: shorter side to 32, then the central crop"
    assert rows["crop offsets"] == "offsets 0..8 an axis of 32, 24 pixels; one draw, with its flip for each image"
    assert rows["lighting"] == "none"
    assert rows["weight decay"] == decay
    assert (
        rows["learning rate"] == "weights 0.001 / 10 at 500, 510; biases 0.002 / 10 at 500, 510; end after 520 epochs"
    )
    assert rows["batch"] == "128 images, momentum 0.9, float32"
    assert re.search(sigma, rows["initial sigma"])
    assert re.search(norm, rows["LRN"])
    assert not RECIPES[f"cifar-{name}"].training_transforms().at(0).shifts_light


def test_decays_of_the_cifar_nets_reach_the_layers_weights_alone() -> None:
    recipe = RECIPES["cifar-11pct"]
    parameters = [(f"{layer}.{part}", torch.nn.Parameter(torch.zeros(1))) for layer in LAYERS for part in PARTS]
    decays = PaperSGD(parameters, recipe).decays
    assert [decays[f"{layer}.weight"] for layer in LAYERS] == [0, 0, 0.004, 0.004, 0.01]
    assert {decays[f"{layer}.bias"] for layer in LAYERS} == {0}


LAYERS, PARTS = ("conv1", "conv2", "local3", "local4", "fc10"), ("weight", "bias")


def test_without_random_crops_training_sees_the_centre_still_flipped_and_lit() -> None:
    """Without flips too, the training views equal the evaluation views except for lighting."""
    recipe = PAPER.override(["crops=center"])
    transform = recipe.training_transforms().at(0)
    assert transform.crop == RandomCrop(size=224, centered=True)
    assert (transform.flip_probability, transform.shifts_light) == (0.5, True)
    assert PAPER.override(["flip_probability=0"]).training_transforms().at(0).flip_probability == 0
    _, rows = shown("paper", "--set", "crops=center", "--set", "flip_probability=0.25")
    assert rows["crop offsets"] == ("the centre of 256, 224 pixels; one draw, with its flip, p = 0.25, for each image")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_plain_values(name: str) -> None:
    recipe = RECIPES[name].override(["layer_rates=conv:0.1", "activation=tanh", "crops=center", "drop_epochs=3,4"])
    assert recipe.layer_rates.of("conv3.weight", 1.0) == 0.1
    assert (recipe.network.activation, recipe.crops, recipe.drop_epochs) == ("tanh", "center", (3, 4))
    assert Recipe.fromdict(recipe.asdict()) == recipe
    assert Recipe.fromdict(recipe.asdict()).header == RECIPES[name].header
    of_release_01 = {key: value for key, value in recipe.asdict().items() if key != "header"}
    assert load_recipe(of_release_01).header == RECIPES[name].header
    assert load_recipe({**of_release_01, "name": "mine"}).header == Header()
    changed = PAPER.override(["removed=conv3", "sixth_conv=true"])
    assert (changed.network.removed, changed.network.sixth_conv) == ("conv3", True)
    assert Recipe.fromdict(changed.asdict()) == changed


def test_source_trains_on_the_written_order_with_draws_shared_by_32_and_no_noise_at_last() -> None:
    source = RECIPES["source"]
    assert source.order == "sequential"
    transform = source.training_transforms().at(66)
    assert (transform.crop, transform.mean) == (RandomCrop(size=224, shared_by=32), "center window")
    assert transform.lighting == Lighting(mode="std", strength=0.1, divisor=1.1)
    assert not source.training_transforms().at(67).shifts_light
    assert source.training_transforms().at(67).divisors is None
    assert source.evaluation_transform(10).mean == "center window"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 4.0}, r"`batch_size` \(=4.0\) must be a whole number"),
        ({"epochs": True}, r"`epochs` \(=True\) must be a whole number"),
        ({"learning_rate": "0.1"}, r"`learning_rate` \(='0.1'\) must be a number"),
        ({"mean": "channel"}, r"`mean` \(='channel'\) must be one of image, center window"),
        ({"drop_epochs": (1.5,)}, r"`drop_epochs` \(=\(1.5,\)\) must be a tuple \(each a whole number\)"),
        ({"lighting_off_epoch": "none"}, r"`lighting_off_epoch` \(='none'\) must be a whole number or None"),
        ({"network": {}}, r"`network` \(=\{\}\) must be a NetworkConfig"),
        ({"layer_rates": (("conv", 0.1),)}, r"`layer_rates` .* must be a ByLayer"),
    ],
)
def test_a_setting_of_a_wrong_type_is_named(settings: dict[str, Any], message: str) -> None:
    """A checkpoint would keep it, and fail where it is used."""
    with pytest.raises(FreelightError, match=message):
        Recipe(**settings)


def test_numpys_numbers_and_lists_become_plain_settings() -> None:
    recipe = Recipe(batch_size=np.int64(16), learning_rate=np.float32(0.5), drop_epochs=[np.int64(3)])  # type: ignore[arg-type]
    assert (recipe.batch_size, recipe.learning_rate, recipe.drop_epochs) == (16, 0.5, (3,))
    assert {type(recipe.batch_size), type(recipe.drop_epochs[0])} == {int}
    with pytest.raises(FreelightError, match=r"`views` \(=3\) must be 1 or 10"):
        recipe.evaluation_transform(3)
