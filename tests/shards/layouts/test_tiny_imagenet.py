"""Tiny-ImageNet-200 is read as it is unpacked, with the names and the labels in its lists."""

from collections.abc import Callable
from pathlib import Path

import pytest

from freelight.shards import FreelightError, Source, list_images

Contents = dict[str, list[tuple[str | None, bytes]]]
Reader = Callable[[Source], Contents]
ROOT = "tiny-imagenet-200"


def listed(images: Path) -> Source:
    source = list_images(images)
    assert isinstance(source, Source)
    return source


def test_the_tree_and_the_folder_that_holds_it(tiny_imagenet: Path, expected: Contents, contents_of: Reader) -> None:
    for images in (tiny_imagenet, tiny_imagenet / ROOT):
        source = listed(images)
        assert source.layout == "tiny-imagenet"
        assert contents_of(source) == expected
        assert [info.name for info in source.classes] == ["tench", "sea snake", "kit fox", "crane"]
        assert source.splits["train"][0].path == "train/n01440764/images/n01440764_10.JPEG"
        assert (source.left_out, source.notes) == ((), ())


def append(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text((root / name).read_text() + text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (append("wnids.txt", "n09999999\n"), "images is missing, but wnids.txt lists the class 'n09999999'"),
        (append("wnids.txt", "../../etc\n"), "wnids.txt: '../../etc' is no class id"),
        (append("val/val_annotations.txt", "val_9.JPEG\tn01440764\n"), "lacks val_9.JPEG, which"),
        (append("val/val_annotations.txt", "val_0.JPEG\tn01440764\n"), "val_annotations.txt:7: expected a file, which"),
        (append("val/val_annotations.txt", "val_9.JPEG\n"), "val_annotations.txt:7: expected a file, which"),
    ],
)
def test_lists_that_do_not_fit_are_one_line(
    damage: Callable[[Path], object], message: str, tiny_imagenet: Path
) -> None:
    damage(tiny_imagenet / ROOT)
    with pytest.raises(FreelightError) as caught:
        listed(tiny_imagenet)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_without_a_line_is_left_out(tiny_imagenet: Path) -> None:
    (tiny_imagenet / ROOT / "val" / "images" / "extra.JPEG").write_bytes(b"")
    ((split, path, reason),) = listed(tiny_imagenet).left_out
    assert (split, path, reason) == ("val", "val/images/extra.JPEG", "not in val/val_annotations.txt")
