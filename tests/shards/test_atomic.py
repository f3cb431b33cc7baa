"""A file exists completely or not at all."""

from pathlib import Path

import pytest

from freelight.shards.base import atomic_write


def test_the_name_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("stop", [OSError("disk full"), KeyboardInterrupt()])
def test_an_error_leaves_the_older_file_and_nothing_else(stop: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"older")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise stop

    with pytest.raises(type(stop)):
        write_half()
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
