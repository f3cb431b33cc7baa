"""A network as a table: the paper's Figure 2 in numbers."""

from dataclasses import dataclass

from ..shards.base import counted
from .network.layers import Convolution, FullyConnected, input_shapes
from .recipes import Recipe


@dataclass(frozen=True)
class LayerSize:
    """The size of one layer in one column, and its work there for one image.

    shape: of its outputs. bytes_exchanged: float32 inputs that come from the other columns. parameters_of_all: over all
    columns; the other numbers are those of one column.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    neurons: int
    multiply_adds: int
    bytes_exchanged: int
    parameters_of_all: int


def layer_sizes(recipe: Recipe, classes: int) -> list[LayerSize]:
    """Return the sizes of layers with weights; for unequal parts of the last layer, the first column's."""
    columns, layers = recipe.network.columns, recipe.network.layers()
    sizes = []
    for layer, shape in zip(layers, input_shapes(layers, recipe.crop_size), strict=True):
        if not isinstance(layer, Convolution | FullyConnected):
            continue
        side, fan_in = layer.output(shape).side, layer.fan_in(shape, columns)
        rows = layer.output(shape).maps or -(-classes // columns)
        rows_of_all = rows * columns if layer.output(shape).maps else classes
        per_row = (fan_in + 1) * (side**2 if isinstance(layer, Convolution) and layer.local else 1)
        others = (columns - 1) * shape.maps * shape.side**2 if layer.input_columns == "all" else 0
        sizes.append(
            LayerSize(
                name=layer.name,
                shape=(rows,) if isinstance(layer, FullyConnected) else (rows, side, side),
                parameters=rows * per_row,
                neurons=rows * side**2,
                multiply_adds=rows * side**2 * fan_in,
                bytes_exchanged=4 * others,
                parameters_of_all=rows_of_all * per_row,
            )
        )
    return sizes


def describe(recipe: Recipe, classes: int) -> str:
    """Return a table of the layers: their sizes in one column, and their work there for one image."""
    sizes, columns = layer_sizes(recipe, classes), recipe.network.columns
    rows = [["layer", "shape", "parameters", "neurons", "multiply-adds", "bytes exchanged"]]
    for size in sizes:
        numbers = (size.parameters, size.neurons, size.multiply_adds, size.bytes_exchanged)
        rows.append([size.name, " x ".join(map(str, size.shape)), *map("{:,}".format, numbers)])
    names = ("parameters", "neurons", "multiply_adds", "bytes_exchanged")
    rows.append(["in all", "", *(f"{sum(getattr(size, name) for size in sizes):,}" for name in names)])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    parameters = sum(size.parameters_of_all for size in sizes)
    return "\n".join(
        [
            f"{recipe.network.architecture}, {recipe.crop_size} x {recipe.crop_size} pixels, "
            f"{counted(classes, 'class', 'classes')}: "
            f"{parameters:,} parameters in {counted(columns, 'column')}",
            "each column, for one image:",
            *table,
        ]
    )
