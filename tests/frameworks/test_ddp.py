"""`examples/ddp.py` under torchrun: every sample once, the loss of one process, and exact resumption."""

from pathlib import Path

import pytest
import torch
from framework_runs import Ended, Place, run, run_killed_and_resumed

from freelight.shards import Dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unbroken(dataset_400: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Ended, Path]]:
    """Run the example on one, two and three processes."""
    runs = {}
    for processes in (1, 2, 3):
        out = tmp_path_factory.mktemp("ddp")
        ended = run("ddp.py", dataset_400.folder, out, notes=out / "notes", processes=processes)
        assert ended.status == 0, ended.output
        runs[processes] = ended, out / "checkpoint.pt"
    return runs


def losses(ended: Ended) -> list[float]:
    return ended.numbers(r"epoch \d: loss (\S+)")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_rank_has_its_share_and_the_losses_are_those_of_one_process(
    processes: int, unbroken: dict[int, tuple[Ended, Path]]
) -> None:
    """The last batch has one sample: all ranks but one have an empty share of it, and no loss is NaN."""
    ended, _ = unbroken[processes]
    for epoch in range(3):
        assert ended.epoch(epoch) == list(range(400))
    assert len(ended.batches) == 24
    assert len(losses(ended)) == 3
    assert losses(ended) == pytest.approx(losses(unbroken[1][0]), abs=1e-6)


@pytest.mark.parametrize("kill", [("train", 0, 171), ("train", 1, 0), ("train", 1, 399)], ids=str)
def test_a_killed_run_resumes_with_the_samples_and_weights_of_an_unbroken_one(
    kill: Place, unbroken: dict[int, tuple[Ended, Path]], dataset_400: Dataset, tmp_path: Path
) -> None:
    """Inside an epoch, at its start, and in the short last batch."""
    whole, checkpoint = unbroken[2]
    arguments = (dataset_400.folder, tmp_path)
    seen = run_killed_and_resumed("ddp.py", *arguments, notes=tmp_path / "notes", kill=kill, processes=2)
    assert seen == whole.batches
    expected, found = (torch.load(path)["model"] for path in (checkpoint, tmp_path / "checkpoint.pt"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
