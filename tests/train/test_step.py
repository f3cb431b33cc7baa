"""A training step, alone: a replica's rows of the batch's dropout masks, and that nothing waits for the device."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from freelight.pipeline import Batch
from freelight.train import Columns, Mesh, Network, PaperSGD, Recipe
from freelight.train.network.dropout import DropoutMasks
from freelight.train.precision import Precision
from freelight.train.schedule import LearningRates
from freelight.train.step import training_step
from freelight.train.throughput import Meter


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
        optimizer=SimpleNamespace(step=lambda rate: None, parameters={}),
        rates=SimpleNamespace(rate=lambda name, epoch: 0.1),
    )
    labels = torch.zeros(own, dtype=torch.int64)
    batch = Batch(torch.ones(own, 3, 2, 2), labels)
    training_step(state, batch, images, measure_norms=False)
    assert network.masks == DropoutMasks(5, 11, batch=images, first=first)
    assert state.step == 12


class Reads(TorchFunctionMode):
    """Lists calls that read a tensor's values on the host: on a GPU, the host would wait there."""

    NAMES = frozenset(
        {*("item", "tolist", "numpy", "cpu", "nonzero", "equal", "allclose", "unique", "masked_select", "__bool__")}
        | {*("__float__", "__int__", "__index__", "__array__", "__contains__", "__format__", "__repr__")}
    )

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in self.NAMES:
            self.calls.append(func.__name__)
        return func(*args, **(kwargs or {}))


def small_state(device: str) -> Any:
    """Return the state of a run of one process at step 0, without its data."""
    recipe = Recipe().override(["width=0.05"])
    network = Network(recipe.network, classes=10, crop=67).to(device)
    return SimpleNamespace(
        mesh=Mesh(),
        network=network,
        config=SimpleNamespace(seed=0),
        step=0,
        epoch=0,
        precision=Precision("float32", False, device),
        finish_gradients=lambda: None,
        optimizer=PaperSGD(network.named_parameters(), recipe),
        rates=LearningRates(recipe),
    )


def take_steps(state: Any, meter: Meter, device: str) -> None:
    """Take three steps, the last of which measures norms."""
    batch = Batch(torch.zeros(4, 3, 67, 67, device=device), torch.zeros(4, dtype=torch.int64, device=device))
    for log in (False, False, True):
        meter.add(state.step, training_step(state, batch, 4, measure_norms=log), 4)


def test_no_step_waits_for_its_results_and_metrics_read_them_once() -> None:
    state, meter = small_state("cpu"), Meter(Mesh(), "cpu")
    with Reads() as reads:
        take_steps(state, meter, "cpu")
        assert reads.calls == []
        assert meter.means(0.0).weight_norm > 0
        assert meter.first_bad_step() is None
        assert reads.calls == ["tolist"]


@pytest.mark.gpu
def test_no_step_waits_for_the_gpu() -> None:
    state, meter = small_state("cuda"), Meter(Mesh(), "cuda")
    take_steps(state, meter, "cuda")  # the first step prepares cuDNN and cuBLAS
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        take_steps(state, meter, "cuda")
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert meter.means(0.0).weight_norm > 0
