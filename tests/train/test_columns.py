"""Two processes with one column each compute the same as one process with both, including all gradients, in float64."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F

from freelight.shards import FreelightError
from freelight.train import Columns, DropoutMasks, Network, NetworkConfig
from freelight.train.parallel.columns import _Join, _JoinLogits, part_sizes

TOLERANCE = 1e-9


class Case(NamedTuple):
    """One comparison. fault: a wrong backward of a collective, to show that the comparison detects it.

    channels_last: memory order of weights and activations, those that the columns exchange among them.
    """

    classes: int
    images: int
    fault: str = ""
    channels_last: bool = False


class Pass(NamedTuple):
    """One training pass: what it computed, gradients by parameter."""

    logits: torch.Tensor
    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]


SOUND = [*(Case(classes, images) for classes in (7, 8) for images in (3, 1)), Case(7, 3, channels_last=True)]
FAULTY = [Case(7, 3, "slice for sum"), Case(7, 3, "sum for slice")]


def train_once(case: Case, columns: Columns) -> Pass:
    """Go forward with dropout on, and back, on the small network and a batch of pixels that `case` names."""
    generator = torch.Generator().manual_seed(case.images)
    images = torch.randint(-128, 128, (case.images, 3, 224, 224), generator=generator).double()
    labels = torch.randint(case.classes, (case.images,), generator=generator)
    network = Network(NetworkConfig(width=0.05), classes=case.classes, columns=columns, seed=1).double()
    if case.channels_last:
        images, network = (one.to(memory_format=torch.channels_last) for one in (images, network))
    logits = network.forward_masked(images, DropoutMasks(seed=2, step=3))
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert len(gradients) == 16
    return Pass(logits.detach(), loss.detach(), gradients)


def own_slice(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    """A wrong backward of `join`: ignores that the other column also uses this column's activations."""
    return gradient.chunk(2, dim=1)[ctx.columns.rank].contiguous(), None, None


def summed_slice(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    """A wrong backward of `join_logits`: counts the one loss, which both columns compute, twice."""
    total = gradient.clone()
    dist.all_reduce(total)
    return total[:, ctx.part], None, None


def one_column(rank: int, folder: Path) -> None:
    """Run one of two processes: compute every case and write the results to `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=2)
    columns = Columns(processes=2, rank=rank, group=dist.group.WORLD)
    faults = {"slice for sum": (_Join, own_slice), "sum for slice": (_JoinLogits, summed_slice)}
    results = {}
    for case in (*SOUND, *FAULTY):
        with pytest.MonkeyPatch.context() as patch:
            if case.fault:
                function, backward = faults[case.fault]
                patch.setattr(function, "backward", staticmethod(backward))
            results[case] = train_once(case, columns)._asdict()
    network = Network(NetworkConfig(width=0.05), classes=7, columns=columns, seed=1)
    torch.save(network.whole(dict(network.named_parameters())), folder / f"whole-{rank}.pt")
    torch.save({tuple(case): result for case, result in results.items()}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def columns_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two real processes."""
    folder = tmp_path_factory.mktemp("columns")
    torch.multiprocessing.spawn(one_column, (folder,), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def columns_results(columns_folder: Path) -> list[dict[Case, Pass]]:
    """The results of each process, by case."""
    saved = [torch.load(columns_folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    return [{Case(*case): Pass(**result) for case, result in one.items()} for one in saved]


def whole_gradients(parts: list[Pass]) -> dict[str, torch.Tensor]:
    """Join the columns' gradients in the layout of the whole network's parameters."""
    return {name: torch.cat([part.gradients[name] for part in parts]) for name in parts[0].gradients}


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference as a share of the largest expected value."""
    assert actual.shape == expected.shape
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("case", SOUND, ids=lambda case: "-".join(map(str, case)))
def test_two_columns_give_the_grouped_nets_logits_loss_and_every_gradient(
    case: Case, columns_results: list[dict[Case, Pass]]
) -> None:
    grouped = train_once(case, Columns())
    both = [result[case] for result in columns_results]
    for rank, one in enumerate(both):
        assert error(one.logits, grouped.logits) < TOLERANCE, f"logits of rank {rank}"
        assert error(one.loss, grouped.loss) < TOLERANCE, f"loss of rank {rank}"
    assert torch.equal(both[0].logits, both[1].logits), "the ranks would decide differently"
    gradients = whole_gradients(both)
    assert gradients.keys() == grouped.gradients.keys()
    for name, expected in grouped.gradients.items():
        assert expected.abs().max() > 1e-6, f"{name}: a gradient of zero shows nothing"
        assert error(gradients[name], expected) < TOLERANCE, name


def test_a_slice_in_place_of_the_joins_sum_fails_the_comparison(columns_results: list[dict[Case, Pass]]) -> None:
    """The loss does not change, only gradients below a join; so losses alone would not show the fault."""
    case = FAULTY[0]
    grouped = train_once(case, Columns())
    both = [result[case] for result in columns_results]
    assert error(both[0].loss, grouped.loss) < TOLERANCE
    gradients = whole_gradients(both)
    wrong = {name for name, expected in grouped.gradients.items() if error(gradients[name], expected) > 1e-2}
    assert wrong == {name for name in grouped.gradients if not name.startswith("fc8")}


def test_a_sum_in_place_of_the_logits_slice_doubles_every_gradient(columns_results: list[dict[Case, Pass]]) -> None:
    case = FAULTY[1]
    grouped = train_once(case, Columns())
    gradients = whole_gradients([result[case] for result in columns_results])
    for name, expected in grouped.gradients.items():
        assert error(gradients[name], 2 * expected) < TOLERANCE, name


@pytest.mark.parametrize("rank", [0, 1])
def test_either_column_can_tell_the_whole_networks_parameters(rank: int, columns_folder: Path) -> None:
    """The content of a checkpoint with an odd number of classes: unequal parts must not add padding."""
    told = torch.load(columns_folder / f"whole-{rank}.pt", weights_only=True)
    whole = dict(Network(NetworkConfig(width=0.05), classes=7, seed=1).named_parameters())
    assert told.keys() == whole.keys()
    for name, parameter in whole.items():
        assert torch.equal(told[name], parameter), name


@pytest.mark.parametrize(("rows", "sizes"), [(8, [4, 4]), (7, [4, 3]), (1, [1, 0]), (1000, [500, 500])])
def test_the_first_column_takes_the_odd_row(rows: int, sizes: list[int]) -> None:
    assert part_sizes(rows, 2) == sizes
    parts = [Columns(processes=2, rank=rank).part(rows) for rank in range(2)]
    assert [range(rows)[part] for part in parts] == [range(sizes[0]), range(sizes[0], rows)]


def test_one_process_holds_both_columns_and_passes_tensors_through() -> None:
    columns = Columns()
    x = torch.zeros(2, 3)
    assert (columns.per_process(2), Columns(processes=2).per_process(2), columns.per_process(1)) == (2, 1, 1)
    assert columns.join(x) is x
    assert columns.join_logits(x, 3) is x
    assert columns.gather_rows(x, 2) is x


def test_a_network_of_one_column_on_two_processes_is_an_error() -> None:
    with pytest.raises(FreelightError, match=r"`columns` \(=2\) must divide .* \(1\); set it to 1"):
        Network(NetworkConfig(architecture="half"), classes=7, columns=Columns(processes=2))
