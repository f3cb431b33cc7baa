"""An error of a disk that refuses to write names the file, the disk and the remedy."""

import errno
import os
import pickle
from pathlib import Path

import pytest
from disks import file_limit

from freelight.shards.base import atomic_write, describe_os_error, naming_file


def mount_point(path: Path) -> str:
    return next(str(folder) for folder in (path, *path.parents) if os.path.ismount(folder))


def write(path: Path, size: int) -> None:
    with atomic_write(path) as file:
        file.write(bytes(size))


def test_a_write_that_the_disk_refuses_names_the_file_and_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, 100)
    with file_limit(1000), pytest.raises(OSError, match="File too large") as raised:
        write(path, 100_000)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == bytes(100)
    assert os.listdir(tmp_path) == ["file"]
    copy = pickle.loads(pickle.dumps(raised.value))  # as from a worker process
    assert describe_os_error(copy) == (
        f"{path} cannot be written: the size limit of a file on {mount_point(tmp_path)} is reached; "
        "raise it (see `ulimit -f`), then run the same command again"
    )


def test_a_full_disk_is_named_with_its_free_space(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space left") as raised,
        naming_file(tmp_path / "none" / "file"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    text = describe_os_error(raised.value)
    disk = mount_point(tmp_path)
    assert text.startswith(f"{tmp_path}/none/file cannot be written: the disk mounted at {disk} has too little space (")
    assert text.endswith(" bytes free); free some space, then run the same command again")


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EDQUOT, "your quota on the disk mounted at / is used up"), (errno.EROFS, "mounted at / is read-only")],
)
def test_a_quota_and_a_read_only_disk_are_told_apart(number: int, reason: str) -> None:
    assert reason in describe_os_error(OSError(number, os.strerror(number), "/file"))


def test_other_errors_name_their_own_file_and_what_helps(tmp_path: Path) -> None:
    """Reading inside the block fails with errors of its own file."""
    with pytest.raises(FileNotFoundError) as raised, naming_file(tmp_path / "written"):
        (tmp_path / "read").read_bytes()
    assert describe_os_error(raised.value) == f"{tmp_path}/read: No such file or directory; correct the path"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    said = f"{file} is a file, but a folder is needed there; name another path"
    with pytest.raises(NotADirectoryError) as below:
        (file / "a/b").read_bytes()
    with pytest.raises(FileExistsError) as same:
        file.mkdir(exist_ok=True)
    assert describe_os_error(below.value) == describe_os_error(same.value) == said
