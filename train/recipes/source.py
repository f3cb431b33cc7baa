"""The recipes `source` and `source-scripted`: what the authors' 2012 code does, where it differs from the paper."""

import dataclasses

from ..network.architectures import NetworkConfig
from .header import Header, PublishedError
from .paper import PUBLISHED
from .recipe import Recipe

SOURCE = Recipe(
    name="source",
    header=Header(
        summary=(
            "What the authors' 2012 code did for the paper's network "
            "(computerhistory/AlexNet-Source-Code, layers-145.cfg)."
        ),
        command="train --shards DATASET --out RUN --columns 2 --recipe source",
        published=PUBLISHED,
        hardware="two GTX 580 of 3 GB, five to six days",
        status="not run here on ImageNet",
    ),
    network=NetworkConfig(normalization="source", conv1_order="norm-pool-relu", upper_conv_std=0.03),
    mean="center window",
    shared_crops=32,
    order="sequential",
    lighting="std",
    lighting_divisor=1.1,
    lighting_off_epoch=67,
    epochs=91,
    bias_learning_rate=0.02,
    bias_weight_decay=0.0,
    schedule="steps",
    drop_epochs=(25, 51, 79),
    bias_drop_epochs=(25,),
    conv1_slow_epoch=67,
    conv1_freeze_epoch=72,
)

SOURCE_SCRIPTED = dataclasses.replace(
    SOURCE,
    name="source-scripted",
    header=Header(
        summary="The recipe source with the 2012 code's scripted learning rates, which depend on the epoch alone.",
        command="train --shards DATASET --out RUN --columns 2 --recipe source-scripted",
        published=(
            PublishedError(
                source="2012 code", measured="one network, ILSVRC-2012 val, ten views", top1=0.405, top5=0.180
            ),
        ),
        hardware="two GTX 580 of 3 GB",
        status="not run here on ImageNet",
    ),
    epochs=90,
    schedule="exponential",
    bias_drop_epochs=(45,),
    conv1_slow_epoch=None,
    conv1_freeze_epoch=None,
)
