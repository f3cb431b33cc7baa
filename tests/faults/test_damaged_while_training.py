"""A shard that is damaged while it is read: an error that names it, or the right pixels; never wrong ones in silence.

After the shard is repaired, the same command ends with the results of an undisturbed run.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jobs import Ended, Inject, Shell, assert_no_traceback, assert_one_line
from runs import assert_same_run, metrics, training

DAMAGES = ["cut", "emptied", "flipped", "zeroed", "removed", "a folder", "another's", "unreadable link"]


def damage(path: Path, how: str, rng: random.Random) -> None:
    """Damage a shard, in place or as a program does that replaces it."""
    size = path.stat().st_size
    if how == "cut":
        with path.open("r+b") as file:
            file.truncate(rng.randrange(1024, size))
    elif how == "emptied":
        with path.open("r+b") as file:
            file.truncate(0)
    elif how == "flipped":
        samples = np.load(path.parent / f"{path.name.partition('-')[0]}.samples.npy")
        row = rng.choice(samples[samples["shard"] == int(path.stem[-6:])])
        with path.open("r+b") as file:
            place = int(row["offset"]) + rng.randrange(int(row["length"]))
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << rng.randrange(8)]))
    elif how == "zeroed":
        path.write_bytes(bytes(size))
    elif how == "another's":
        other = path.with_name("other.tmp")
        shutil.copyfile(path.with_name(f"{path.stem[:-6]}{(int(path.stem[-6:]) + 1):06d}.tar"), other)
        other.replace(path)
    else:
        path.unlink()
        if how == "a folder":
            path.mkdir()
        elif how == "unreadable link":
            path.symlink_to(path.name)


def repair(path: Path, sound: Path) -> None:
    """Copy the shard back."""
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    shutil.copyfile(sound, path)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A dataset to damage."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_shard_damaged_while_training(
    how: str,
    split: str,
    made: Path,
    copy: Path,
    trained: Callable[[int], Path],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    """The loader may hold the shard open, and then reads on from what was removed; the next epoch opens it again."""
    rng = random.Random(f"{how}{split}")
    out, whole = tmp_path / "run", trained(1)
    name = f"{split}-{rng.randrange(3):06d}.tar"
    job = shell.begin(*training(copy, out))
    step = rng.randrange(1, 8)
    job.wait_until(lambda: len(metrics(out)) >= step)
    damage(copy / name, how, rng)
    inject(f"a shard of {split} {how} while train reads")
    ended = job.end()
    assert_one_line(ended, copy / name)
    repair(copy / name, made / name)
    shell.succeed(*training(copy, out))
    assert_same_run(out, whole)
    shell.assert_no_leftover(out)


def assert_named(ended: Ended, path: Path, tool: str) -> None:
    """verify_shards names the shard in its list, with exit code 1; the others in their one line."""
    if tool == "verify_shards":
        assert ended.returncode == 1, ended
        assert str(path) in ended.stdout
        assert_no_traceback(ended)
    else:
        assert_one_line(ended, path)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_shard_is_named_by_every_command_that_reads_it(
    how: str,
    made: Path,
    copy: Path,
    trained: Callable[[int], Path],
    shell: Shell,
    inject: Inject,
    tmp_path: Path,
) -> None:
    path = copy / "val-000001.tar"
    damage(path, how, random.Random(how))
    last = trained(1) / "last.pt"
    for words in (
        ["verify_shards", "--shards", copy],
        ["verify_shards", "--shards", copy, "--workers", 2],
        ["compute_pca", "--shards", copy, "--split", "val", "--out", tmp_path / "own.npz"],
        ["evaluate", "--checkpoint", last, "--shards", copy, "--views", 1],
        ["find_similar", "--checkpoint", last, "--shards", copy, "--features", tmp_path / "features"],
    ):
        assert_named(shell.run(*words), path, words[0])
        inject(f"a shard {how} before {words[0]} reads")
    repair(path, made / path.name)
    shell.succeed("verify_shards", "--shards", copy)
    shell.succeed("compute_pca", "--shards", copy, "--split", "val", "--out", tmp_path / "own.npz")
    shell.succeed("find_similar", "--checkpoint", last, "--shards", copy, "--features", tmp_path / "features")
    shell.assert_no_leftover(copy, tmp_path / "features")
