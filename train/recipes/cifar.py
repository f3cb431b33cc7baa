"""The recipes of the 2012 code for CIFAR-10; docs/design/paper.md section 7 lists its files."""

import dataclasses

from ..network.architectures import Architecture, NetworkConfig
from .by_layer import ByLayer
from .header import Header, PublishedError
from .recipe import Recipe


def _header(name: Architecture, summary: str, error: float, note: str = "") -> Header:
    return Header(
        summary=summary,
        command=f"train --shards CIFAR --out RUN --recipe {name} (shards made with --size 32)",
        published=(PublishedError(source="2012 code", measured="CIFAR-10 test", top1=error),),
        note=note,
        hardware="one GPU",
        status="not run here for its 520 epochs",
    )


CIFAR_19PCT = Recipe(
    name="cifar-19pct",
    header=_header(
        "cifar-19pct", "The 2012 code's layers-19pct.cfg for CIFAR-10: four weight layers, as in Figure 1.", 0.19
    ),
    network=NetworkConfig(architecture="cifar-19pct"),
    crop_size=24,
    mean="center window",
    order="sequential",
    lighting="off",
    epochs=520,
    learning_rate=0.001,
    bias_learning_rate=0.002,
    weight_decay=0.004,
    bias_weight_decay=0.0,
    layer_decays=ByLayer(numbers=(("fc10.weight", 1.0),)),
    schedule="steps",
    drop_epochs=(500, 510),
    bias_drop_epochs=(500, 510),
)

CIFAR_18PCT = dataclasses.replace(
    CIFAR_19PCT,
    name="cifar-18pct",
    header=_header(
        "cifar-18pct",
        "The 2012 code's layers-18pct.cfg for CIFAR-10: 19pct with response normalisation within maps.",
        0.18,
    ),
    network=NetworkConfig(architecture="cifar-18pct"),
)

CIFAR_13PCT = dataclasses.replace(
    CIFAR_19PCT,
    name="cifar-13pct",
    header=_header(
        "cifar-13pct",
        "The 2012 code's layers-conv-local-13pct.cfg for CIFAR-10: two convolutions, two local layers.",
        0.13,
        'the paper\'s "without normalization"',
    ),
    network=NetworkConfig(architecture="cifar-13pct"),
    layer_decays=ByLayer(numbers=(("conv", 0.0),)),
)

CIFAR_11PCT = dataclasses.replace(
    CIFAR_13PCT,
    name="cifar-11pct",
    header=_header(
        "cifar-11pct",
        "The 2012 code's layers-conv-local-11pct.cfg for CIFAR-10: 13pct with normalisation across maps.",
        0.11,
        'the paper\'s "with normalization"; wider than 13pct, and with more weight decay',
    ),
    network=NetworkConfig(architecture="cifar-11pct"),
    layer_decays=ByLayer(numbers=(("conv", 0.0), ("fc10.weight", 0.01))),
)
