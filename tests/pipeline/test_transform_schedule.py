"""A schedule is a transform by epoch, and a value: equal, hashed, printed and pickled as its parts."""

import dataclasses
import pickle
from typing import Any

import pytest

from freelight import pipeline
from freelight.pipeline import CenterCrop, ColorJitter, Lighting, RandomResizedCrop, Schedule, Transform
from freelight.shards import FreelightError

SMALL = Transform(mean="none", lighting=Lighting(mode="off"), dtype="uint8")
JITTERED = dataclasses.replace(SMALL, crop=RandomResizedCrop(size=64), ops=(ColorJitter(brightness=0.4),))
CENTER = dataclasses.replace(SMALL, crop=CenterCrop(size=96))
STEPS = Schedule({0: SMALL, 2: JITTERED, 3: CENTER})


def test_a_schedule_is_constant_between_its_first_epochs() -> None:
    assert [STEPS.at(epoch) for epoch in range(5)] == [SMALL, SMALL, JITTERED, CENTER, CENTER]
    ramp = Schedule({epoch: dataclasses.replace(SMALL, flip_probability=epoch // 3 / 4) for epoch in range(9)})
    assert [first for first, _ in ramp.parts] == [0, 3, 6], "equal neighbours are one part"
    assert ramp == Schedule({6: ramp.at(8), 3: ramp.at(5), 0: ramp.at(0)})
    assert eval(repr(STEPS), vars(pipeline)) == STEPS
    assert hash(STEPS) == hash(pickle.loads(pickle.dumps(STEPS)))


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ({}, r"schedule: no transform for epoch 0; the first epochs are \[\]"),
        ({16: SMALL}, r"no transform for epoch 0; the first epochs are \[16\]"),
        ({0: SMALL, -1: CENTER}, r"`first epoch` \(=-1\) must be at least 0"),
        ({0: SMALL, 1.5: CENTER}, r"`first epoch` \(=1.5\) must be a whole number"),
        ({0: SMALL, 1: None}, r"`transform` \(=None\) must be a Transform"),
        ([SMALL], "schedule: give a dict of transforms, each by the first epoch of its use"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(transforms: Any, message: str) -> None:
    with pytest.raises(FreelightError, match=message):
        Schedule(transforms)
