"""What the readers of a cache need, and what may go for it: readers that died count no longer."""

import os
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freelight.shards.dataset.needs import Needs, count_readers, needs_of, victims
from freelight.shards.dataset.uses import uses_of


def test_a_reader_counts_until_it_closes_or_dies(tmp_path: Path) -> None:
    own, other = Needs(tmp_path, ["a", "bb", "c"]), Needs(tmp_path, ["c", "d"])
    own.write(["c"])
    assert sorted(map(tuple, needs_of(tmp_path))) == [("c",), ("c", "d")]
    assert [count_readers(tmp_path, names) for names in (["a", "bb", "c"], ["c", "d"], ["c"])] == [1, 1, 0]
    os.close(other._descriptor)  # as the kernel does when a process is killed
    assert needs_of(tmp_path) == [{"c": 0}]
    own.close()
    assert needs_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_unneeded_files_go_first_then_those_needed_last_and_none_that_is_needed_before() -> None:
    ahead, behind = {"c": 0, "d": 1, "e": 2, "f": 3}, {"b": 0, "c": 1, "d": 2, "e": 3, "f": 4}
    held = ["a", "f", "b", "c", "e", "x"]
    assert victims([ahead, behind], "d", held) == ["a", "x", "f", "e"]
    assert victims([], "d", held) == held
    assert victims([{"a": 0}], "unplanned", ["a", "b"]) == ["b", "a"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=10))
def test_uses_of_shards_are_those_of_a_loop(steps: list[list[int]]) -> None:
    uses = uses_of(np.array([shard for step in steps for shard in step], np.int64), list(map(len, steps)))
    order: list[int] = []
    for step in steps:
        order += [shard for shard in dict.fromkeys(step) if shard not in order]
    assert list(uses.order) == order
    assert uses.places == {shard: place for place, shard in enumerate(order)}
    for number, step in enumerate(steps):
        gone = {shard for shard in step if not any(shard in later for later in steps[number + 1 :])}
        assert list(uses.finished.get(number, ())) == [shard for shard in order if shard in gone]
