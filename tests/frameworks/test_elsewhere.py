"""Other software reads a dataset of each geometry, by the blocks and commands of the how-to document."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from document_blocks import read_page
from framework_runs import PACKAGES, ROOT

from freelight.benchmarks.peers import HOME, find_peer
from freelight.shards import Dataset, Rescaling, ShardSettings, list_images, make_shards, verify_dataset

pytestmark = pytest.mark.slow

HOWTO = ROOT / "docs/howto/read-the-shards-elsewhere.md"
GEOMETRIES = {
    "square": Rescaling(size=96),
    "shorter": Rescaling(geometry="shorter", size=96),
    "longer": Rescaling(geometry="longer", size=96),
    "original": Rescaling(geometry="original"),
}
RUN = """
import json, os, site, sys
if "PACKAGES" in os.environ:
    site.addsitedir(os.environ["PACKAGES"])
block, *folders = json.load(sys.stdin)
found = []
for folder in folders:
    names = {}
    exec(block.replace("DATASET", folder), names)
    found.append({name: names[name] for name in ("labels", "names", "keys") if name in names})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """A dataset of each geometry, with metadata; readers may write beside the shards."""
    folder = tmp_path_factory.mktemp("elsewhere")
    source = list_images(pictures, val_fraction=None, class_names=pictures / "class-names.tsv", seed=0)
    for name, rescaling in GEOMETRIES.items():
        make_shards(source, folder / name, ShardSettings(rescaling=rescaling, samples_per_shard=16, metadata=True))
    return [Dataset(folder / name) for name in GEOMETRIES]


def block(section: str, language: str) -> str:
    """Return a block of the document, by its section's title."""
    text = HOWTO.read_text()
    first = text.count("\n", 0, text.index(f"## {section}\n"))
    blocks = [block for block in read_page(HOWTO).blocks if block.line > first and block.language == language]
    return next(block.code for block in blocks if not block.hidden)


def prepare(section: str, made: list[Dataset]) -> None:
    """Run the shell block of a section for each dataset."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for dataset in made:
        command = block(section, "bash").replace("DATASET", str(dataset.folder))
        done = subprocess.run(
            command, shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def read(section: str, made: list[Dataset], *, python: Path | None = None, **environment: str) -> list[dict[str, list]]:
    """Run the Python block of a section for each dataset; return its labels, and names and keys if it has any."""
    done = subprocess.run(
        [str(python or sys.executable), "-c", RUN],
        input=json.dumps([block(section, "python"), *(str(dataset.folder) for dataset in made)]),
        env={**os.environ, **environment, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, list]] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(found: list[dict[str, list]], made: list[Dataset]) -> None:
    """Each sample of val came once, in the order of the shards; keys are those of train; the dataset is unchanged."""
    for result, dataset in zip(found, made, strict=True):
        labels = dataset.split("val").samples["label"].tolist()
        assert len(labels) == 20
        assert result["labels"] == labels
        train = dataset.split("train")
        assert sorted(result.get("keys", [])) in ([], [train.key(sample) for sample in range(len(train))])
        assert verify_dataset(dataset.folder) == []


@pytest.mark.parametrize("section", ["webdataset", "DALI"])
def test_the_samples_come_once_in_order(section: str, made: list[Dataset]) -> None:
    check(read(section, made), made)


def test_hugging_face_gives_the_names_of_the_classes_too(made: list[Dataset], tmp_path: Path) -> None:
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("datasets is absent; install it with: pip install 'freelight[test]'")
    found = read("Hugging Face datasets", made, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    check(found, made)
    for result, dataset in zip(found, made, strict=True):
        assert result["names"] == [dataset.manifest.classes[label].name for label in result["labels"]]


@pytest.mark.parametrize(("section", "package"), [("wids", "wids"), ("Energon", "megatron")])
def test_a_reader_with_an_index_of_its_own(section: str, package: str, made: list[Dataset], tmp_path: Path) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{section} is absent; install it as {HOWTO.name} says")
    prepare(section, made)
    check(read(section, made, WIDS_CACHE=str(tmp_path)), made)


@pytest.mark.peers
def test_timm_finds_the_split_by_its_name(made: list[Dataset]) -> None:
    python = find_peer("torchvision", HOME)
    if python is None:
        pytest.skip("timm's environment is absent; make it with: tools/benchmark peers")
    check(read("timm", made, python=python, PACKAGES=str(PACKAGES)), made)
