"""One training step: forward, loss, backward, sum of gradients, update."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..pipeline import Batch
from .network.dropout import DropoutMasks
from .norms import squared_norm
from .parallel.columns import part_sizes
from .state import TrainingState


class StepResult(NamedTuple):
    """What a step computed on this replica's share of the batch, still on the device.

    loss: sum of cross-entropies, nats. wrong: number of images whose label is not the most probable class.
    squared_norms: of the whole network's gradients, and of its weights after the update, (2,); None if not measured.
    """

    loss: torch.Tensor
    wrong: torch.Tensor
    squared_norms: torch.Tensor | None = None


def training_step(state: TrainingState, batch: Batch, images: int, *, measure_norms: bool) -> StepResult:
    """Update the network by this replica's share of a batch of `images` images, and count the step.

    The loss is the sum of cross-entropies over the *global* number of images, so that gradients are summed over
    replicas, and a short last batch has its right weight. Gradients are never summed over columns. Nothing in a step
    waits for the device.
    """
    mesh, network = state.mesh, state.network
    # A replica with an empty share computes on a blank image that does not count, because the others wait for it.
    blank = len(batch.labels) == 0
    # Dropout masks are drawn for the whole batch; this replica's rows begin at `first`.
    shares = part_sizes(images, mesh.world_size)
    first = 0 if blank else sum(shares[: mesh.replica * mesh.columns.processes])
    masks = DropoutMasks(state.config.seed, state.step, batch=images, first=first)
    inputs = state.precision.inputs(batch.images.new_zeros((1, *batch.images.shape[1:])) if blank else batch.images)
    labels = batch.labels.new_zeros(1) if blank else batch.labels
    with state.precision.autocast():
        logits = network.forward_masked(inputs, masks)
    loss = F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels, reduction="sum")
    loss = loss * 0 if blank else loss
    (loss / images).backward()  # type: ignore[no-untyped-call]
    state.finish_gradients()
    wrong = (logits.detach().argmax(dim=1) != labels).sum()
    result = StepResult(loss.detach(), wrong * 0 if blank else wrong)
    weights: list[torch.Tensor] = list(state.optimizer.parameters.values())
    norms: list[torch.Tensor] = []
    if measure_norms:
        norms.append(squared_norm([weight.grad for weight in weights if weight.grad is not None], mesh))
    epoch = state.epoch
    state.optimizer.step(lambda name: state.rates.rate(name, epoch))
    state.step += 1
    if measure_norms:
        norms.append(squared_norm(weights, mesh))
        result = result._replace(squared_norms=torch.stack(norms))
    return result
