"""Other tools read a dataset's shards, and find the same samples."""

import subprocess
import tarfile
from pathlib import Path

import pytest
import webdataset
from nvidia.dali import fn, pipeline_def
from wds2idx import IndexCreator

from freelight.shards import Dataset


def expected_samples(dataset: Dataset, split: str) -> list[tuple[int, bytes]]:
    """(label, JPEG bytes) of each sample, through the table and `pread`."""
    opened = dataset.split(split)
    return [(int(label), opened.read(index)) for index, label in enumerate(opened.samples["label"])]


def shard_paths(dataset: Dataset, split: str) -> list[str]:
    return [str(dataset.folder / shard.name) for shard in dataset.manifest.splits[split].shards]


@pytest.mark.parametrize("split", ["train", "val"])
def test_tarfile_and_tar_read_the_same_samples(split: str, dataset: Dataset, tmp_path: Path) -> None:
    found, keys = [], []
    for path in shard_paths(dataset, split):
        with tarfile.open(path) as tar:
            contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        keys += sorted({name.split(".")[0] for name in contents})
        found += [(int(contents[f"{key}.cls"]), contents[f"{key}.jpg"]) for key in keys[len(found) :]]
        subprocess.run(["tar", "-xf", path, "-C", str(tmp_path)], check=True)
        assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    assert found == expected_samples(dataset, split)
    assert len(list(tmp_path.iterdir())) == 2 * len(found)


# webdataset 1.0 leaves the last file of its loop to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("split", ["train", "val"])
def test_webdataset_reads_the_same_samples(split: str, dataset: Dataset) -> None:
    samples = list(webdataset.WebDataset(shard_paths(dataset, split), shardshuffle=False))
    assert [(int(sample["cls"]), sample["jpg"]) for sample in samples] == expected_samples(dataset, split)
    decoded = (
        webdataset.WebDataset(shard_paths(dataset, split), shardshuffle=False).decode("rgb8").to_tuple("jpg", "cls")
    )
    pixels, label = next(iter(decoded))
    assert (pixels.shape, label) == ((256, 256, 3), expected_samples(dataset, split)[0][0])


@pytest.mark.parametrize("split", ["train", "val"])
def test_dalis_webdataset_reader_reads_the_same_samples_with_our_index(split: str, dataset: Dataset) -> None:
    paths = shard_paths(dataset, split)

    @pipeline_def(batch_size=20, num_threads=1, device_id=None)
    def graph() -> tuple[object, object]:
        jpeg, label = fn.readers.webdataset(
            paths=paths,
            index_paths=[str(Path(path).with_suffix(".idx")) for path in paths],
            ext=["jpg", "cls"],
            missing_component_behavior="error",
            name="reader",
        )
        return jpeg, label

    pipeline = graph()
    pipeline.build()
    expected = expected_samples(dataset, split)
    assert pipeline.epoch_size("reader") == len(expected)
    found = []
    for _ in range(len(expected) // 20):
        jpegs, labels = pipeline.run()
        found += [(int(bytes(labels.at(k))), bytes(jpegs.at(k))) for k in range(20)]
    assert found == expected


def test_our_index_is_the_one_dalis_own_tool_makes(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("train", "val"):
        for path in shard_paths(dataset, name):
            with IndexCreator(path, str(tmp_path / "idx"), verbose=False) as creator:
                creator.create_index()
            assert (tmp_path / "idx").read_text() == Path(path).with_suffix(".idx").read_text()
