"""The tars of a split: braces, globs, several places, and names that are refused in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from freelight.commands.index_shards import command
from freelight.shards import FreelightError, list_tars
from freelight.shards.indexing.inputs import expand_braces, find_tars


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("plain.tar", ["plain.tar"]),
        ("x{,y}", ["x", "xy"]),
    ],
)
def test_braces_expand_as_in_bash(pattern: str, texts: list[str]) -> None:
    assert list(expand_braces(pattern)) == texts


def test_a_split_has_the_tars_of_all_its_patterns_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b0.tar", "b1.tar", "a.tar", "v.tar"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    splits, notes = find_tars(["train=b{1..1}.tar", "Validation=v.tar", "train=[a]*.t?r"])
    assert [(split.name, [Path(tar).name for tar in split.tars]) for split in splits] == [
        ("train", ["b1.tar", "a.tar"]),
        ("val", ["v.tar"]),
    ]
    assert all(Path(tar).is_absolute() for split in splits for tar in split.tars)
    assert notes == ["Validation is read as the split val"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train"], r"`splits` \(=train\) must be <split>=<tars>, such as train='train-\{0000..1023\}.tar'"),
        (["../x=a.tar"], r"must be <split>=<tars>"),
        (["train=none-{0..1}.tar"], r"none-0.tar of train is not a file; correct the name"),
        (["train=none-*.tar"], r"none-\*.tar matches no file; correct it"),
        (["train=x{3..1}"], r"the range \{3..1\} in x\{3..1\} has its larger end first"),
        (["train=x{abc}"], r"\{abc\} in x\{abc\} is neither a range such as \{0000..1023\} nor a list"),
        (["train=x{0..9999999}"], r"names more than 100000 tars"),
        (["train=a.tar", "val=a.tar"], r"name .*/a.tar twice \(train and val\); leave one out"),
        (["train=http://h/{a,b}/0.tar"], r"lie in several folders; those behind a URL must share one"),
        (["train=http://h/a.tar", "train=a.tar"], r"lie in several folders"),
        (["train=http://h/s/a.tar?token=1"], r"behind http://h/s must be a .tar of letters"),
        (["train=simplecache::http://h/s/a.tar"], r"simplecache::http://h/s is not the URL of a folder"),
        ([], r"`splits` is empty"),
    ],
)
def test_what_cannot_be_found_is_one_line(
    splits: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.tar").touch()
    with pytest.raises(FreelightError, match=message):
        list_tars(splits)


def test_the_command_dry_runs_indexes_and_refuses(foreign_tars: Path, tmp_path: Path) -> None:
    def call(*words: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(command, list(map(str, words)))
        return result.exit_code, result.stdout, result.stderr

    tars, out = f"train={foreign_tars}/imagenet1k-train-*.tar", tmp_path / "out"
    code, said, _ = call("--split", tars, "--out", out, "--dry-run")
    assert code == 0
    assert not out.exists()
    first, second, third = said.splitlines()
    assert first.startswith(f"train: 3 tars in {foreign_tars}, 0.")
    assert second == "  first sample: n01440764_0 (.jpg, .cls, .json), label 0"
    assert third == "no list of classes: labels give their ids"
    code, said, _ = call("--split", tars, "--out", out)
    assert code == 0
    assert said.splitlines()[0].startswith("train: 33 samples of 4 classes in 3 shards, 0.")
    assert said.splitlines()[2] == f"train: links to the tars in {foreign_tars}; do not move or change them"
    for words, message in (
        (
            ("--split", tars, "--out", foreign_tars),
            "--out {} is not empty and was not started by make_shards or index_shards",
        ),
        (
            ("--split", tars, "--out", tmp_path / "x", "--label", "json"),
            "--label (=json) must be the extension of a member",
        ),
        (("--split", tars, "--out", tmp_path / "x", "--check", "all"), "--check (=all) must be one of crc, decode"),
        (("--split", "train=/none.tar", "--out", tmp_path / "x"), "--split: /none.tar of train is not a file"),
        (("--split", tars, "--out", tmp_path / "x", "--class-names", "/none"), "--class-names /none is not a file"),
        (("--split", tars, "--out", tmp_path / "x", "--workers", 0), "--workers (=0) must be at least 1"),
    ):
        code, said, error = call(*words)
        assert (code, said) == (2, "")
        assert error.splitlines()[-1].startswith(f"error: {message.format(foreign_tars)}")
