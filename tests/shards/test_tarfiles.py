"""Shards have the same bytes as from `webdataset.TarWriter`."""

import io

import pytest
import webdataset

from freelight.shards.dataset import TarWriter


@pytest.mark.parametrize("sizes", [[], [0], [1, 511, 512, 513], [9217], [20000] * 40])
def test_the_tar_is_that_of_webdatasets_own_writer(sizes: list[int]) -> None:
    mine, theirs = io.BytesIO(), io.BytesIO()
    tar = TarWriter(mine)
    with webdataset.TarWriter(theirs, user="", group="", mtime=0, encoder=False) as other:
        for key, size in enumerate(sizes):
            label, jpeg = (key if key % 3 else -1), bytes([key % 256]) * size
            label_at, jpeg_at = tar.add_sample(f"{key:08d}", label, jpeg)
            text = b"-1" if label < 0 else b"%05d" % label
            other.write({"__key__": f"{key:08d}", "cls": text, "jpg": jpeg})
            assert mine.getvalue()[label_at:][: len(text)] == text
            assert mine.getvalue()[jpeg_at:][:size] == jpeg
    tar.close()
    assert mine.getvalue() == theirs.getvalue()
