"""A recipe as tables: what it does, one row for each topic in which published recipes differ, and all its settings.

The rows of topics are those of docs/design/paper.md section 6.
"""

import textwrap

from ..network.architectures import NetworkConfig
from ..network.layers import Convolution, FullyConnected, NormalizeAcross, NormalizeWithin
from .overrides import meanings, settable, takes, write_value
from .recipe import Recipe

_KEY_COLUMNS, _COLUMNS = 34, 118


def recipe_table(recipe: Recipe) -> str:
    """Return a recipe's header, what it does, and its settings, as lines of text; empty lines stand between them."""
    rows = recipe_rows(recipe)
    width = max(map(len, rows))
    header = recipe.header.lines() or [f"recipe {recipe.name}"]
    topics = [f"{name:{width}}  {value}" for name, value in rows.items()]
    return "\n".join([*header, "", *topics, "", *setting_lines(recipe)])


def setting_lines(recipe: Recipe) -> list[str]:
    """Return `key = value   (what it may be) meaning` for each setting; `--set key=value` changes it."""
    lines = []
    for key, (value, choices, meaning) in described_settings(recipe).items():
        start, more = f"{key} = {value}".ljust(_KEY_COLUMNS - 2) + "  ", " " * _KEY_COLUMNS
        text = f"({choices}) {meaning}"
        lines += textwrap.wrap(text, _COLUMNS, initial_indent=start, subsequent_indent=more, break_on_hyphens=False)
    return lines


def described_settings(recipe: Recipe) -> dict[str, tuple[str, str, str]]:
    """Return of each setting, by key, its value as text, what it may be, and its meaning."""
    values = recipe.settings()
    return {
        key: (write_value(values[key]), takes(kind).removeprefix("one of "), meanings(owner)[key])
        for owner in (Recipe, NetworkConfig)
        for key, kind in settable(owner).items()
    }


def recipe_rows(recipe: Recipe) -> dict[str, str]:
    """Return what a recipe does, by topic, in words."""
    mean = {"image": "of the whole image: follows crop and flip", "center window": "its centre window for every crop"}
    return {
        "rescale": f"make_shards: shorter side to {_side(recipe)}, then the central crop",
        "mean image": mean[recipe.mean],
        "crop offsets": _crops(recipe),
        "lighting": _lighting(recipe),
        "order": _order(recipe),
        **(_cifar_rows(recipe) if recipe.network.is_for_cifar else _alexnet_rows(recipe)),
        "weight decay": _decays(recipe),
        "learning rate": _rates(recipe),
        "conv1's rate": _conv1(recipe),
        "batch": f"{recipe.batch_size} images, momentum {recipe.momentum:g}, {recipe.precision}",
    }


def _order(recipe: Recipe) -> str:
    orders = {"global": "a fresh permutation each epoch", "sequential": "as written, every epoch"}
    held = f"{recipe.window:.3g} of the shards" if isinstance(recipe.window, float) else f"{recipe.window} shards"
    return orders.get(recipe.order, f"drawn from a window of {held}, which slides over them")


def _side(recipe: Recipe) -> int:
    """Return the side of the images that a recipe is meant for, pixels."""
    return 32 if recipe.network.is_for_cifar else 256


def _alexnet_rows(recipe: Recipe) -> dict[str, str]:
    network = recipe.network
    alpha = {"paper": "2 + 1e-4 sum", "source": "2 + 1e-4/5 sum"}.get(network.normalization)
    within = "5x5 within a map, x / (1 + 4e-5 sum x**2)**0.75" if network.normalization == "source" else "none"
    return {
        "conv1 order": "conv, "
        + ", ".join(network.conv1_order.replace("norm", "LRN").replace("relu", "ReLU").split("-")),
        "LRN": f"a / ({alpha} a**2)**0.75 over 5 maps of a column" if alpha else "none",
        "second norm": within,
        "initial sigma": _sigma(recipe),
        "initial biases": f"{network.initial_bias:g} in conv2, conv4, conv5, fc6, fc7; 0 elsewhere",
        "dropout": f"mask in training with p = {network.dropout:g}, activations x {1 - network.dropout:g} at test",
        "fc8": "split over the columns (equal to the 2012 code's, on column 0)",
    }


def _cifar_rows(recipe: Recipe) -> dict[str, str]:
    layers = recipe.network.layers()
    across = {layer for layer in layers if isinstance(layer, NormalizeAcross)}
    within = {layer for layer in layers if isinstance(layer, NormalizeWithin)}
    norms = [f"a / ({n.k:g} + {n.alpha:.3g} sum a**2)**0.75 over {n.maps} maps" for n in across]
    norms += [f"a / (1 + {n.alpha:.3g} sum a**2)**0.75 over {n.window}x{n.window} within a map" for n in within]
    weighted = [layer for layer in layers if isinstance(layer, Convolution | FullyConnected)]
    return {
        "LRN": norms[0] if norms else "none",
        "initial sigma": ", ".join(f"{layer.std:g} in {layer.name}" for layer in weighted),
        "initial biases": "0",
        "dropout": "none",
    }


def _crops(recipe: Recipe) -> str:
    side, crop = _side(recipe), recipe.crop_size
    place = f"offsets 0..{side - crop} an axis of {side}" if recipe.crops == "random" else f"the centre of {side}"
    flip = "its flip" if recipe.flip_probability == 0.5 else f"its flip, p = {recipe.flip_probability:g},"
    shared = "each image" if recipe.shared_crops == 1 else f"{recipe.shared_crops} consecutive images"
    return f"{place}, {crop} pixels; one draw, with {flip} for {shared}"


def _decays(recipe: Recipe) -> str:
    layers = "".join(f", {start} {number:g}" for start, number in recipe.layer_decays.numbers)
    return f"weights {recipe.weight_decay:g}, biases {recipe.bias_weight_decay:g}{layers}"


def _lighting(recipe: Recipe) -> str:
    size = {"eigenvalue": "lambda of 0-1 pixels, scaled back", "std": "sqrt(lambda) on 0-255", "off": "none"}
    text = size[recipe.lighting]
    if recipe.lighting != "off":
        text += f", alpha ~ N(0, {recipe.lighting_strength:g})"
        text += f", then / {recipe.lighting_divisor:g}" if recipe.lighting_divisor != 1 else ""
        text += f", off from epoch {recipe.lighting_off_epoch}" if recipe.lighting_off_epoch is not None else ""
    return text


def _sigma(recipe: Recipe) -> str:
    upper = recipe.network.upper_conv_std
    return "0.01 everywhere" if upper == 0.01 else f"0.01, but {upper:g} in conv3, conv4, conv5"


def _rates(recipe: Recipe) -> str:
    weights, biases = f"{recipe.learning_rate:g}", f"{recipe.bias_learning_rate:g}"
    end = f"end after {recipe.epochs} epochs"
    if recipe.schedule == "plateau":
        one = weights if weights == biases else f"{weights}, biases {biases}"
        return (
            f"{one}; / {recipe.plateau_factor:g} after {recipe.plateau_epochs} epochs without a new best centre-view "
            f"top-1 on val, {recipe.plateau_drops} times; end at the next, or {end}"
        )
    bias_drops = f"biases {biases} / 10 at {', '.join(map(str, recipe.bias_drop_epochs))}"
    if recipe.schedule == "steps":
        return f"weights {weights} / 10 at {', '.join(map(str, recipe.drop_epochs))}; {bias_drops}; {end}"
    return (
        f"weights {weights} / {recipe.exponential_factor:g} in {recipe.exponential_steps} equal parts; "
        f"{bias_drops}; {end}"
    )


def _conv1(recipe: Recipe) -> str:
    if recipe.conv1_slow_epoch is None and recipe.conv1_freeze_epoch is None:
        return "as the others'"
    slow, freeze = recipe.conv1_slow_epoch, recipe.conv1_freeze_epoch
    parts = [] if slow is None else [f"{recipe.conv1_slow_rate:g} from epoch {slow}"]
    return ", ".join([*parts, *([] if freeze is None else [f"frozen from {freeze}"])])
