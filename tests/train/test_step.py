"""A training step, alone: which rows of the whole batch's dropout masks a replica uses."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from freelight.pipeline import Batch
from freelight.train import Columns, Mesh
from freelight.train.network.dropout import DropoutMasks
from freelight.train.step import training_step


class Recorder(torch.nn.Module):
    """A network that keeps the masks it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward_masked(self, images: torch.Tensor, masks: DropoutMasks) -> torch.Tensor:
        self.masks = masks
        return images.mean(dim=(2, 3)) * self.weight


@pytest.mark.parametrize(
    ("images", "columns", "replica", "first"),
    [(8, 1, 0, 0), (8, 1, 1, 4), (7, 1, 1, 4), (19, 2, 1, 10), (3, 2, 1, 2), (1, 1, 1, 0)],
)
def test_a_replica_has_the_masks_of_its_own_rows(images: int, columns: int, replica: int, first: int) -> None:
    """Shares are dealt by rank, in the batch's order. A replica with an empty share (the last case) has no row."""
    share = np.array_split(np.arange(images), 2 * columns)
    own = sum(len(part) for part in share[replica * columns : (replica + 1) * columns])
    network = Recorder()
    state: Any = SimpleNamespace(
        mesh=Mesh(columns=Columns(processes=columns), replicas=2, replica=replica),
        network=network,
        config=SimpleNamespace(seed=5),
        step=11,
        epoch=0,
        precision=SimpleNamespace(inputs=lambda images: images, autocast=nullcontext),
        finish_gradients=lambda: None,
        optimizer=SimpleNamespace(step=lambda rate: None),
        rates=SimpleNamespace(rate=lambda name, epoch: 0.1),
    )
    labels = torch.zeros(own, dtype=torch.int64)
    batch = Batch(torch.ones(own, 3, 2, 2), labels)
    training_step(state, batch, images, measure_norms=False)
    assert network.masks == DropoutMasks(5, 11, batch=images, first=first)
    assert state.step == 12
