"""`benchmark shuffle` measures what it says, and the windowed order is what it is chosen for."""

import numpy as np
from click.testing import CliRunner

from freelight.benchmarks.shuffle import Sorted, blocks_order, command, pool_order, quality_of
from freelight.pipeline import windowed_order

SPLIT = Sorted(samples=4000, shards=40, classes=20)


def test_a_split_in_its_own_order_is_as_far_from_a_permutation_as_can_be() -> None:
    found = quality_of(np.arange(4000, dtype=np.int32), SPLIT, batch_size=50)
    assert found.held == 1
    assert (found.classes, found.least_classes, found.run) == (1, 1, 200)
    assert 0.7 < found.distance < 0.8, "three quarters, mean over the shards"


def test_the_sliding_window_has_the_most_classes_and_the_smallest_burst_for_a_cache() -> None:
    found = {
        "sliding": quality_of(windowed_order(SPLIT.shard, seed=0, epoch=0, window=8), SPLIT, 50),
        "blocks": quality_of(blocks_order(SPLIT.shard, seed=0, window=4), SPLIT, 50),
        "pool": quality_of(pool_order(SPLIT.shard, seed=0, window=8), SPLIT, 50),
    }
    assert [found[name].held for name in found] == [8, 4, 8]
    for name in ("blocks", "pool"):
        assert found["sliding"].classes > found[name].classes, name
        assert found["sliding"].burst <= found[name].burst, name


def test_the_command_prints_a_row_for_each_order() -> None:
    ended = CliRunner().invoke(command, ["--samples", "2000", "--shard-count", "20", "--class-count", "10"])
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[1].split()[:3] == ["global", "permutation", "20"]
    assert len(lines) == 2 + 4 * 4
