"""The sound files that the fuzzer edits, made by the installed commands: a few small files of every kind."""

import gzip
import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
from forkserver import ForkServer
from miniatures import (
    NAMES,
    WNIDS,
    Miniature,
    cifar_binary,
    cifar_pickled,
    draw_cifar,
    draw_mini,
    tar_of,
    write_cifar,
    write_ilsvrc2010,
    write_ilsvrc2012,
    write_kaggle,
    write_tiny_imagenet,
    write_webdataset,
)
from PIL import Image

from freelight.acceptance.results import Result, Results
from freelight.shards import Dataset

SIZE = "--size 66 --samples-per-shard 12"
CARD = """---
dataset_info:
  features:
  - name: label
    dtype:
      class_label:
        names:
          '0': tench, Tinca tinca
          '1': sea snake
          '2': "kit fox"
          '3': crane
---
# Drawn
"""
TRAIN = (
    "train --recipe source --epochs 2 --width 0.01 --no-compile --threads 1 --log-every 1 "
    "--set crop_size=64 --set batch_size=5 --set learning_rate=0.001"
)


class Corpus:
    """Makes the sound files below `folder`, one sub-folder per purpose."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        self.folder = folder
        self._server = server
        mini = draw_mini()
        self._images()
        self._dataset()
        self._run()
        write_ilsvrc2012(mini, folder / "ilsvrc2012")
        write_ilsvrc2010(mini, folder / "ilsvrc2010")
        write_kaggle(mini, folder / "kaggle")
        write_tiny_imagenet(mini, folder / "tiny")
        write_webdataset(mini, folder / "webdataset")
        (folder / "webdataset" / "classes.json").write_text(json.dumps([{"id": i, "name": NAMES[i]} for i in WNIDS]))
        self._cifar()
        self._compressed(mini)
        self._parquet(mini)
        self._unfinished()
        self._indexed()
        self._claims()
        self.run("train --recipe source --set layer_rates=conv:0.1,fc8:2 --save-recipe recipe.toml")

        Results(folder / "acceptance", device="cuda", quick=False).save(
            Result(
                part="smoke", passed=True, seconds=2.5, reason="", figures={"speed": "9 images/s"}, found={"n": [1, 2]}
            )
        )

    def run(self, line: str, *, code: int = 0) -> str:
        """Run a command in the folder, which must end with `code`; return its output."""
        output = self.folder / "output.txt"
        request = {"argv": line.split(), "cwd": str(self.folder), "env": {}, "exec": False}
        result = self._server.run({**request, "stdout": str(output), "stderr": str(self.folder / "errors.txt")})
        assert result["code"] == code, f"{line}: {result}\n{(self.folder / 'errors.txt').read_text()}"
        return output.read_text()

    def _images(self) -> None:
        self.run("freelight draw-pictures --out images --train-per-class 2 --val-per-class 1")
        drawn = sorted((self.folder / "images" / "train").rglob("*_1.JPEG"))
        (self.folder / "photo.JPEG").write_bytes(drawn[0].read_bytes())
        tree = self.folder / "tree"
        for number, path in enumerate(drawn[:6]):
            (tree / f"class{number // 3}").mkdir(parents=True, exist_ok=True)
            (tree / f"class{number // 3}" / f"{number}.JPEG").write_bytes(path.read_bytes())
        with Image.open(drawn[7]) as picture:
            picture.save(tree / "class0" / "6.png")
        (tree / "names.tsv").write_text("class0\tcross\nclass1\tdisc, round\n")
        (tree / "classes.txt").write_text("class0\nclass1\n")

    def _dataset(self) -> None:
        names = "--class-names images/class-names.tsv"
        self.run(f"freelight make-shards --images images --out dataset {SIZE} {names} --max-rejected 0.5")
        self.run("freelight compute-pca --shards dataset")
        damaged = Path(shutil.copytree(self.folder / "dataset", self.folder / "damaged"))
        for shard in damaged.glob("*-000000.tar"):
            data = shard.read_bytes()
            at = data.index(b"\xff\xda") + 20  # within the first picture's pixels
            shard.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        lost = Path(shutil.copytree(self.folder / "dataset", self.folder / "lost"))
        (lost / "dataset.json").unlink()
        summing = Path(shutil.copytree(self.folder / "dataset", self.folder / "summing"))
        (summing / "statistics.npz").unlink()
        shard = summing / "train-000001.tar"
        sound = shard.read_bytes()
        shard.write_bytes(b"")
        self.run("freelight compute-pca --shards summing --workers 1", code=2)
        shard.write_bytes(sound)
        assert (summing / ".statistics.npz.partial").exists(), "no sums were saved before the damaged shard"
        self.run("freelight make-shards --images tree --out whole --geometry original --metadata")
        self.run("freelight compute-pca --shards whole")
        self.run("freelight decode --shards dataset --decoded decoded --threads 1")

    def _run(self) -> None:
        """Make a run that stopped inside its first epoch, and what evaluation and inspection write."""
        run = self.folder / "run"
        self.run(f"{TRAIN} --shards dataset --out run --checkpoint-every 3 --keep 9")
        early = (run / "step-00000003.pt").read_bytes()
        for path in run.glob("*.pt"):
            path.unlink()
        for name in ("step-00000003.pt", "last.pt"):
            (run / name).write_bytes(early)
        known = "--checkpoint run/last.pt --shards dataset"
        self.run(f"freelight evaluate {known} --views 1 --predictions predictions.npz")
        self.run(f"freelight find-similar {known} --features features")
        partial = shutil.copytree(self.folder / "features", self.folder / "extracting")
        (partial / "val.fc7.npy").rename(partial / "val.fc7.npy.partial")
        note = json.loads((partial / "val.fc7.json").read_text())
        (partial / "val.fc7.json").write_text(json.dumps({**note, "done": 5}))
        dataset = Dataset(self.folder / "dataset")
        (self.folder / "listed.txt").write_text("\n".join(dataset.split("train").keys()))
        weights = {info.id: number for number, info in enumerate(dataset.manifest.classes, 1)}
        (self.folder / "weights.json").write_text(json.dumps(weights))

    def _cifar(self) -> None:
        for name, write in (("binary", cifar_binary), ("python", cifar_pickled)):
            write_cifar(write(draw_cifar(2)), self.folder / f"cifar-{name}", name)
        unpacked = self.folder / "cifar-unpacked"
        unpacked.mkdir()
        for file, data in cifar_pickled(draw_cifar(2)).items():
            (unpacked / file).write_bytes(data)

    def _compressed(self, mini: Miniature) -> None:
        """Write a tar.gz of class tars, and the older Hugging Face copy."""
        folder = self.folder / "huggingface"
        folder.mkdir()
        whole = (self.folder / "ilsvrc2012" / "ILSVRC2012_img_train.tar").read_bytes()
        (self.folder / "fall2011").mkdir()
        (self.folder / "fall2011" / "fall11_whole.tar.gz").write_bytes(gzip.compress(whole, mtime=0))
        train = [
            (f"{number}_{wnid}.JPEG", data)
            for wnid in mini.train
            for number, data in enumerate(mini.train[wnid].values())
        ]
        (folder / "train_images_0.tar.gz").write_bytes(gzip.compress(tar_of(train), mtime=0))
        val = [("0_n01440764.JPEG", b"no picture"), ("1_n01440764.JPEG", mini.test[0])]
        (folder / "val_images.tar.gz").write_bytes(gzip.compress(tar_of(val), mtime=0))

    def _parquet(self, mini: Miniature) -> None:
        (self.folder / "parquet").mkdir()
        rows = [
            {"image": {"bytes": data, "path": name.replace(".JPEG", f"_{wnid}.JPEG")}, "label": label}
            for label, (wnid, files) in enumerate(mini.train.items())
            for name, data in files.items()
        ]
        notes = {"info": {"features": {"label": {"names": list(NAMES.values())}}}}
        table = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(notes)})
        pyarrow.parquet.write_table(table, self.folder / "parquet" / "train-00000-of-00001.parquet", row_group_size=4)

    def _unfinished(self) -> None:
        """Make datasets that stopped at a bad picture, because none may be rejected: of loose files, of a tar.gz."""
        strict = f"{SIZE} --max-rejected 0 --workers 1"
        self.run(f"freelight make-shards --images images --out making {strict}", code=2)
        assert list((self.folder / "making" / ".partial").glob("*.record")), "no shard was finished before"
        self.run(
            f"freelight make-shards --images huggingface --out staging {SIZE} --max-rejected 0 --workers 1", code=2
        )
        assert list((self.folder / "staging" / ".partial" / "staged").glob("*.json")), "no segment was finished before"

    def _indexed(self) -> None:
        """Index tars of other people, and stop at one that is cut short."""
        tars = self.folder / "webdataset"
        field = "--field labels=json:label"
        self.run(f"freelight index-shards --split train={tars}/imagenet1k-train-*.tar {field} --out indexed")
        (self.folder / "cut.tar").write_bytes((tars / "imagenet1k-train-0001.tar").read_bytes()[:3000])
        splits = f"--split train={tars}/imagenet1k-train-0000.tar --split train={self.folder}/cut.tar"
        self.run(f"freelight index-shards {splits} --out indexing --workers 1", code=2)
        assert list((self.folder / "indexing" / ".partial").glob("*.record")), "no tar was finished before"
        (self.folder / "README.md").write_text(CARD)

    def _claims(self) -> None:
        """Write the figures that a plan reads."""
        figures = self.run("freelight evaluate --checkpoint run/last.pt --shards dataset --json")
        (self.folder / "claim").mkdir()
        for name in ("ten-views", "centre-view"):
            (self.folder / "claim" / f"cnn2010-{name}.json").write_text(figures)
