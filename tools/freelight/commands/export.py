"""Write a trained network as a file for other software.

The ending of --out decides the format. All hold the network as at test, in float32, with its classes and mean image.

\b
.safetensors  Weights by name. [needs freelight[export]]
.pt           A state_dict for torch.load(..., weights_only=True), and beside it
              a .py with the network in plain PyTorch.
.onnx         A graph that also subtracts the mean. onnxruntime must give
              the network's logits. [needs freelight[export]]
"""

from pathlib import Path

import click

from freelight.shards.base import Command, OutputFile, counted, reports_errors, say_result, with_output
from freelight.train import Checkpoint
from freelight.train.exporting import SUFFIXES, export_network


@click.command(
    name="export",
    help=__doc__,
    cls=Command,
    groups={
        "Network": "checkpoint",
        "Result": "out quiet json",
    },
    examples=(
        "freelight export --checkpoint run/best.pt --out alexnet.onnx",
        "freelight export --checkpoint run/best.pt --out alexnet.safetensors",
    ),
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint of the network, such as RUN/best.pt.",
)
@click.option("--out", type=OutputFile(*SUFFIXES), required=True, help="The file to write.")
@with_output
@reports_errors
def command(checkpoint: Path, out: Path) -> None:
    trained = Checkpoint.load(checkpoint)
    written = export_network(trained, out)
    names = " and ".join(map(str, written.files))
    classes, recipe = len(trained.class_ids), trained.recipe.name
    lines = [f"{names}: {written.parameters:,} parameters, {counted(classes, 'class', 'classes')}, recipe {recipe}"]
    if written.difference is not None:
        lines.append(
            f"onnxruntime's logits differ from the network's by at most {written.difference:.1e} of the largest"
        )
    elif out.suffix == ".onnx":
        lines.append("not compared with the network, because there is no onnxruntime: pip install 'freelight[export]'")
    content = {"files": list(map(str, written.files)), "parameters": written.parameters, "classes": classes}
    say_result(lines, {**content, "recipe": recipe, "largest_difference": written.difference})
