"""The drawn pictures as a source, and as a small dataset."""

from pathlib import Path

import pytest
from making import SMALL, source_of

from freelight.shards import Source, make_shards


@pytest.fixture(scope="session")
def source(pictures: Path) -> Source:
    return source_of(pictures)


@pytest.fixture(scope="session")
def small(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures at 32 pixels, eight per shard: quick to make again."""
    out = tmp_path_factory.mktemp("small") / "dataset"
    make_shards(source, out, SMALL)
    return out
