"""Class-folder trees are listed in one order, labelled by sorted class id; errors name the problem and its remedy."""

import errno
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from freelight.shards import FreelightError, Source, list_images


def tree(root: Path, *files: str) -> Path:
    """Write files that are not pictures, because listing never opens them."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def listed(
    images: Path, *, val_fraction: float | None = None, class_names: Path | None = None, seed: int = 0
) -> Source:
    return list_images(images, val_fraction=val_fraction, class_names=class_names, seed=seed)


def pairs(source: Source, split: str) -> list[tuple[str, int]]:
    return [(image.path, image.label) for image in source.splits[split]]


def test_train_and_val_share_labels_by_sorted_class_id(tmp_path: Path) -> None:
    """val may lack a class; its labels are train's nevertheless."""
    images = tree(tmp_path, "train/n2/b.jpg", "train/n10/a.jpg", "train/n1/c.jpg", "val/n2/d.jpg", "val/n10/e.jpg")
    source = listed(images)
    assert [info.id for info in source.classes] == ["n1", "n10", "n2"]
    assert pairs(source, "train") == [("train/n1/c.jpg", 0), ("train/n10/a.jpg", 1), ("train/n2/b.jpg", 2)]
    assert pairs(source, "val") == [("val/n10/e.jpg", 1), ("val/n2/d.jpg", 2)]
    assert source.read(source.splits["train"][2]) == b"train/n2/b.jpg"


def test_subfolders_and_links_are_followed_and_every_file_is_listed(tmp_path: Path) -> None:
    """The converter, not the listing, rejects a file that is not a picture."""
    images = tree(tmp_path / "images", "train/a/2.jpg", "train/a/deep/1.jpg", "train/a/no-suffix")
    tree(tmp_path / "elsewhere", "3.jpg")
    (images / "train/b").symlink_to(tmp_path / "elsewhere")
    expected = [("train/a/2.jpg", 0), ("train/a/deep/1.jpg", 0), ("train/a/no-suffix", 0), ("train/b/3.jpg", 1)]
    assert pairs(listed(images), "train") == expected


def test_one_level_of_classes_is_train_alone_without_a_fraction(tmp_path: Path) -> None:
    source = listed(tree(tmp_path, "cat/1.jpg", "dog/1.jpg", ".git/1.jpg"))
    assert list(source.splits) == ["train"]
    assert pairs(source, "train") == [("cat/1.jpg", 0), ("dog/1.jpg", 1)]


def test_val_fraction_takes_its_rounded_share_of_each_class_by_the_seed(tmp_path: Path) -> None:
    files = [f"{name}/{k:02d}.jpg" for name, count in (("cat", 20), ("dog", 7), ("eel", 2)) for k in range(count)]
    images = tree(tmp_path, *files)
    source = listed(images, val_fraction=0.2, seed=5)
    train, val = pairs(source, "train"), pairs(source, "val")
    assert Counter(label for _, label in val) == {0: 4, 1: 1}, "round(0.2 * n) for n = 20, 7, 2"
    assert sorted(train + val) == [(name, ["cat", "dog", "eel"].index(name.split("/")[0])) for name in sorted(files)]
    assert pairs(listed(images, val_fraction=0.2, seed=5), "val") == val
    assert pairs(listed(images, val_fraction=0.2, seed=6), "val") != val
    assert [path for path, label in val if label == 0] != [f"cat/{k:02d}.jpg" for k in range(4)], "not the first ones"


def test_class_names_come_from_tabbed_or_spaced_lines(tmp_path: Path) -> None:
    """Also with a byte order mark, Windows line ends and blank lines; a name may hold spaces and commas."""
    images = tree(tmp_path / "images", "train/n1/1.jpg", "train/n2/1.jpg")
    names = tmp_path / "names.txt"
    names.write_bytes("\ufeffn2\tcrane, a bird\r\n\r\nn1 maillot, tank suit\r\nn3\tunused\n".encode())
    assert [(info.id, info.name) for info in listed(images, class_names=names).classes] == [
        ("n1", "maillot, tank suit"),
        ("n2", "crane, a bird"),
    ]
    assert [info.name for info in listed(images).classes] == ["n1", "n2"], "the id, where there are no names"


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([], {}, "{images} has no class folders; expected {images}/<class>/<image>"),
        (["val/a/1.jpg"], {}, "{images} has val/ but no train/; give the folder that holds train/, or"),
        (["train/1.jpg"], {}, "{images}/train has no class folders"),
        (
            ["train/a/1.jpg", "val/b/1.jpg"],
            {},
            "the split 'val' of {images} (layout folders) has the class 'b', which train lacks",
        ),
        (
            ["train/a/1.jpg", "val/1.jpg"],
            {},
            "{images}/val has no class folders; expected {images}/val/<class>/<image> (its files have no labels",
        ),
        (
            ["train/a/1.jpg", "val/a/1.jpg"],
            {"val_fraction": 0.1},
            "`val_fraction` needs a source that has only train, but {images}",
        ),
        (["train/a/.x.jpg"], {}, "class 'a' of {images} (layout folders) has no images in train, but would get"),
        (["a/1.jpg"], {"val_fraction": 0.1}, "`val_fraction` (=0.1) gives val no image"),
        (["a/1.jpg"], {"val_fraction": 0.9}, "`val_fraction` (=0.9) leaves no image of class 'a' (of 1) in train"),
        (["a/1.jpg"], {"val_fraction": 1.0}, r"`val_fraction` (=1.0) must lie between 0 and 1"),
        (["a/1.jpg"], {"val_fraction": float("nan")}, r"`val_fraction` (=nan) must lie between 0 and 1"),
        (["a/one\ntwo.jpg"], {}, "holds a line break; rename it"),
    ],
)
def test_a_tree_that_cannot_be_right_is_named(
    files: list[str], options: dict[str, float], message: str, tmp_path: Path
) -> None:
    images = tree(tmp_path / "images", *files)
    images.mkdir(exist_ok=True)
    with pytest.raises(FreelightError, match=re.escape(message.format(images=images))):
        listed(images, val_fraction=options.get("val_fraction"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FreelightError, match=f"`images` {tmp_path / 'none'} is not a folder"):
        listed(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tfirst\n", "has no name for class 'b' (1 missing)"),
        (b"a\tfirst\nb\n", ":2: expected '<class id><tab><name>', found 'b'"),
        (b"a\tfirst\nb\tsec\xffond\n", "is not UTF-8 text"),
    ],
)
def test_a_class_names_file_that_cannot_be_right_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    images = tree(tmp_path / "images", "train/a/1.jpg", "train/b/1.jpg")
    names = tmp_path / "names.tsv"
    names.write_bytes(content)
    with pytest.raises(FreelightError, match=re.escape(message)) as caught:
        listed(images, class_names=names)
    assert str(names) in str(caught.value)


def test_a_picture_that_changed_since_it_was_listed_is_an_error(tmp_path: Path) -> None:
    source = listed(tree(tmp_path, "train/a/1.jpg"))
    (tmp_path / "train/a/1.jpg").write_bytes(b"longer than it was")
    with pytest.raises(FreelightError, match=r"1\.jpg changed since it was listed \(13 bytes then, 18 now\)"):
        source.read(source.splits["train"][0])


def test_a_flat_test_folder_is_a_split_without_labels(tmp_path: Path) -> None:
    source = listed(tree(tmp_path, "train/a/1.jpg", "test/2.jpg", "test/1.jpg"))
    assert pairs(source, "test") == [("test/1.jpg", -1), ("test/2.jpg", -1)]


def test_a_subset_of_classes_is_labelled_by_itself(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", *(f"{split}/{name}/1.jpg" for split in ("train", "val") for name in "abcd"))
    (tmp_path / "subset.txt").write_text("d\nb and a name\n")
    source = list_images(images, classes=tmp_path / "subset.txt")
    assert [info.id for info in source.classes] == ["b", "d"]
    assert pairs(source, "val") == [("val/b/1.jpg", 0), ("val/d/1.jpg", 1)]
    (tmp_path / "subset.txt").write_text("e\n")
    with pytest.raises(FreelightError, match=r"subset\.txt names the class 'e', which .* lacks"):
        list_images(images, classes=tmp_path / "subset.txt")


def test_a_class_with_two_lines_of_names_is_an_error(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", "train/a/1.jpg")
    (tmp_path / "names.tsv").write_text("a\tone\na\ttwo\n")
    with pytest.raises(FreelightError, match=r"names\.tsv:2: the class 'a' has a line already"):
        listed(images, class_names=tmp_path / "names.tsv")


def test_an_unreadable_folder_stops_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.walk` would skip it silently, and a class would lose images."""
    images = tree(tmp_path, "train/a/deep/1.jpg", "train/a/2.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FreelightError, match=r"the folder .*deep cannot be read \(Permission denied\); make it"):
        listed(images)
