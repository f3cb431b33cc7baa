"""Folders that may only be read: reading works, writing is one line that names the folder, and nothing is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Inject, Shell, assert_one_line, files
from small_disk import SmallDisk

WRITERS = {
    "make_shards": "make_shards --images {images} --size 32 --out {here}/out",
    "make_shards --workers": "make_shards --images {images} --size 32 --workers 2 --out {here}/out",
    "make_shards, into the folder": "make_shards --images {images} --size 32 --out {here}",
    "compute_pca": "compute_pca --shards {made} --out {here}/own.npz",
    "train": "train --shards {made} --no-compile --width 0.05 --out {here}/run",
    "train, into the folder": "train --shards {made} --no-compile --width 0.05 --out {here}",
    "evaluate --predictions": (
        "evaluate --checkpoint {run}/last.pt --shards {made} --views 1 --predictions {here}/own.npz"
    ),
    "evaluate --cache": "evaluate --checkpoint {run}/last.pt --shards file://{made} --views 1 --cache {here}/cache",
    "find_similar": "find_similar --checkpoint {run}/last.pt --shards {made} --features {here}/features",
    "preview": "preview --shards {made} --rows 2 --out {here}/sheet.png",
    "report": "report --run {run} --out {here}/report.html",
}
READERS = {
    "make_shards": "make_shards --images {here}/pictures --size 32 --out {there}/out",
    "compute_pca": "compute_pca --shards {here}/dataset --out {there}/own.npz",
    "compute_pca, which is done": "compute_pca --shards {here}/dataset",
    "verify_shards": "verify_shards --shards {here}/dataset",
    "train": "train --shards {here}/dataset --no-compile --width 0.05 --epochs 1 --out {there}/run",
    "evaluate": "evaluate --checkpoint {here}/run/last.pt --shards {here}/dataset --views 1",
    "find_similar": "find_similar --checkpoint {here}/run/last.pt --shards {here}/dataset --features {there}/features",
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_may_only_be_read_is_named(
    name: str, images: Path, made: Path, trained: Callable[[int], Path], disk: SmallDisk, shell: Shell, inject: Inject
) -> None:
    disk.make_read_only()
    words = WRITERS[name].format(images=images, made=made, run=trained(1), here=disk.path).split()
    assert_one_line(shell.run(*words), disk.path, "is read-only")
    inject(f"{name} into a read-only folder")
    assert list(disk.seen.iterdir()) == []
    shell.assert_no_leftover()


def test_data_that_may_only_be_read_are_read(
    images: Path,
    made: Path,
    trained: Callable[[int], Path],
    disk: SmallDisk,
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    sources = {"pictures": images, "dataset": made, "run": trained(1)}
    for name, source in sources.items():
        for path, data in files(source).items():
            (disk.seen / name / path).parent.mkdir(parents=True, exist_ok=True)
            (disk.seen / name / path).write_bytes(data)
    disk.make_read_only()
    for name, words in READERS.items():
        shell.succeed(*words.format(here=disk.path, there=tmp_path).split())
        inject(f"{name} from a read-only folder")
    shell.assert_no_leftover()
