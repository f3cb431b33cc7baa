"""The recipe `paper`: what the paper's text says (section 5)."""

from .header import Header, PublishedError
from .recipe import Recipe

PUBLISHED = (
    PublishedError(source="paper", measured="one network, ILSVRC-2010 test, centre view", top1=0.390, top5=0.183),
    PublishedError(source="paper", measured="one network, ILSVRC-2010 test, ten views", top1=0.375, top5=0.170),
    PublishedError(source="paper", measured="one network, ILSVRC-2012 val, ten views", top1=0.407, top5=0.182),
    PublishedError(
        source="paper", measured="five networks averaged, ILSVRC-2012 val, ten views", top1=0.381, top5=0.164
    ),
)

PAPER = Recipe(
    header=Header(
        summary='The text of "ImageNet Classification with Deep Convolutional Neural Networks" (2012).',
        command="train --shards DATASET --out RUN --columns 2 --recipe paper",
        published=PUBLISHED,
        hardware="two GTX 580 of 3 GB, five to six days",
        status="not run here on ImageNet",
    )
)
