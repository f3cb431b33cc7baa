"""Tell what a recipe and its network are: as tables for people."""

from dataclasses import dataclass

from .network.layers import Convolution, FullyConnected, NormalizeAcross, NormalizeWithin, input_shapes
from .recipe import Recipe

HEADERS = {
    "paper": """The text of "ImageNet Classification with Deep Convolutional Neural Networks" (2012).
command:   train --shards DATASET --out RUN --columns 2 --recipe paper
published: ILSVRC-2012 val 40.7 / 18.2 % (top-1 / top-5 error, ten views); ILSVRC-2010 test 37.5 / 17.0 %,
           centre view 39.0 / 18.3 %
hardware:  two GTX 580 of 3 GB, five to six days
not run here on ImageNet""",
    "source": """What the authors' 2012 code did for the same net (computerhistory/AlexNet-Source-Code, layers-145.cfg).
command:   train --shards DATASET --out RUN --columns 2 --recipe source
published: as the recipe paper, whose net this is
hardware:  two GTX 580 of 3 GB, five to six days
not run here on ImageNet""",
    "source-scripted": """The recipe source with the 2012 code's scripted rates, which are set by the epoch alone.
command:   train --shards DATASET --out RUN --columns 2 --recipe source-scripted
published: ILSVRC-2012 val 40.5 / 18.0 % (top-1 / top-5 error, ten views)
hardware:  two GTX 580 of 3 GB
not run here on ImageNet""",
    "cifar-19pct": """The 2012 code's layers-19pct.cfg for CIFAR-10: four weight layers, as in Figure 1.
command:   train --shards CIFAR --out RUN --recipe cifar-19pct (shards made with --size 32)
published: CIFAR-10 test 19 % error
hardware:  one GPU
not run here for its 520 epochs""",
    "cifar-18pct": """The 2012 code's layers-18pct.cfg for CIFAR-10: 19pct with response normalisation within maps.
command:   train --shards CIFAR --out RUN --recipe cifar-18pct (shards made with --size 32)
published: CIFAR-10 test 18 % error
hardware:  one GPU
not run here for its 520 epochs""",
    "cifar-13pct": """The 2012 code's layers-conv-local-13pct.cfg for CIFAR-10: two convolutions, two local layers.
command:   train --shards CIFAR --out RUN --recipe cifar-13pct (shards made with --size 32)
published: CIFAR-10 test 13 % error (the paper's "without normalization")
hardware:  one GPU
not run here for its 520 epochs""",
    "cifar-11pct": """The 2012 code's layers-conv-local-11pct.cfg for CIFAR-10: 13pct, normalised across maps.
command:   train --shards CIFAR --out RUN --recipe cifar-11pct (shards made with --size 32)
published: CIFAR-10 test 11 % error (the paper's "with normalization"); wider, and with more decay, than 13pct
hardware:  one GPU
not run here for its 520 epochs""",
}


def recipe_table(recipe: Recipe) -> str:
    """Return a recipe's header and one line for each setting in which published recipes differ."""
    rows = _rows(recipe)
    width = max(map(len, rows))
    return "\n".join([HEADERS[recipe.name], "", *(f"{name:{width}}  {value}" for name, value in rows.items())])


def _rows(recipe: Recipe) -> dict[str, str]:
    mean = {"image": "of the whole image: follows crop and flip", "center window": "its centre window for every crop"}
    return {
        "rescale": f"make_shards: shorter side to {_side(recipe)}, then the central crop",
        "mean image": mean[recipe.mean],
        "crop offsets": _crops(recipe),
        "lighting": _lighting(recipe),
        "order": "a fresh permutation each epoch" if recipe.order == "global" else "as written, every epoch",
        **(_cifar_rows(recipe) if recipe.network.is_for_cifar else _alexnet_rows(recipe)),
        "weight decay": _decays(recipe),
        "learning rate": _rates(recipe),
        "conv1's rate": _conv1(recipe),
        "batch": f"{recipe.batch_size} images, momentum {recipe.momentum:g}, {recipe.precision}",
    }


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


@dataclass(frozen=True)
class LayerSize:
    """What a layer has in one column, and does there for one image.

    shape: of its outputs. exchanged: bytes of float32 inputs that come from the other columns. in_all: parameters of
    all columns.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    neurons: int
    multiply_adds: int
    exchanged: int
    in_all: int


def layer_sizes(recipe: Recipe, classes: int) -> list[LayerSize]:
    """Return the weighted layers; where the classes do not divide evenly, the first column's."""
    columns, layers = recipe.network.columns, recipe.network.layers()
    sizes = []
    for layer, shape in zip(layers, input_shapes(layers, recipe.crop_size), strict=True):
        if not isinstance(layer, Convolution | FullyConnected):
            continue
        side, fan_in = layer.output(shape).side, layer.fan_in(shape, columns)
        rows = layer.output(shape).maps or -(-classes // columns)
        in_all = rows * columns if layer.output(shape).maps else classes
        per_row = (fan_in + 1) * (side**2 if isinstance(layer, Convolution) and layer.local else 1)
        others = (columns - 1) * shape.maps * shape.side**2 if layer.sees == "all" else 0
        sizes.append(
            LayerSize(
                name=layer.name,
                shape=(rows,) if isinstance(layer, FullyConnected) else (rows, side, side),
                parameters=rows * per_row,
                neurons=rows * side**2,
                multiply_adds=rows * side**2 * fan_in,
                exchanged=4 * others,
                in_all=in_all * per_row,
            )
        )
    return sizes


def describe(recipe: Recipe, classes: int) -> str:
    """Return the paper's Figure 2 as a table: what each layer has in one column, and does there for one image."""
    sizes, columns = layer_sizes(recipe, classes), recipe.network.columns
    rows = [["layer", "shape", "parameters", "neurons", "multiply-adds", "bytes exchanged"]]
    for size in sizes:
        numbers = (size.parameters, size.neurons, size.multiply_adds, size.exchanged)
        rows.append([size.name, " x ".join(map(str, size.shape)), *map("{:,}".format, numbers)])
    names = ("parameters", "neurons", "multiply_adds", "exchanged")
    rows.append(["in all", "", *(f"{sum(getattr(size, name) for size in sizes):,}" for name in names)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [
            f"{recipe.network.architecture}, {recipe.crop_size} x {recipe.crop_size} pixels, {classes} classes: "
            f"{sum(size.in_all for size in sizes):,} parameters in {columns} column{'s' if columns > 1 else ''}",
            "each column, for one image:",
            *table,
        ]
    )
