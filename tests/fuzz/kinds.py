"""The kinds of files that are fuzzed: the files, the forms of their edits, and the commands that read them."""

from dataclasses import dataclass

from archive_forms import GZIPPED_BYTES, GZIPPED_TAR_HEADER, TAR_HEADER, within_member
from corpus import SIZE, TRAIN
from forms import BYTES, COMMAS, JSON, JSON_LINES, NPY, NPZ, TABS, WORDS, Form
from picture_forms import JPEG_FRAME, PICTURE, PNG_SIZE, SAMPLE_PICTURE
from table_forms import META_TABLE, PARQUET
from tensor_forms import TENSOR, TORCH, ZIP_ENTRY

FORMS: dict[str, Form] = {
    "bytes": BYTES,
    "json": JSON,
    "json lines": JSON_LINES,
    "words": WORDS,
    "commas": COMMAS,
    "tabs": TABS,
    "npy": NPY,
    "npz": NPZ,
    "torch": TORCH,
    "tensor": TENSOR,
    "zip entry": ZIP_ENTRY,
    "tar header": TAR_HEADER,
    "gzipped bytes": GZIPPED_BYTES,
    "gzipped tar header": GZIPPED_TAR_HEADER,
    "meta.mat bytes": within_member("meta.mat", BYTES),
    "meta.mat table": META_TABLE,
    "ground truth": within_member("ground_truth.txt", WORDS),
    "parquet": PARQUET,
    "picture": PICTURE,
    "png size": PNG_SIZE,
    "jpeg frame": JPEG_FRAME,
    "sample": SAMPLE_PICTURE,
}


@dataclass(frozen=True)
class Command:
    """line: as typed in the folder `in`, where the sound files are copied. writes: what it may write, besides `../out`.

    reports: exit code 1 says that something is damaged.
    """

    line: str
    writes: tuple[str, ...] = ()
    reports: bool = False


KNOWN = "--checkpoint run/last.pt --shards dataset"
MAKE = f"freelight make-shards --out ../out/made {SIZE} --max-rejected 0.9"
INDEX = "freelight index-shards --split train=./webdataset/imagenet1k-train-*.tar --out ../out/made --max-rejected 0.9"
STATISTICS = ("statistics.npz", "statistics.json", ".statistics.npz.partial")
COMMANDS = {
    "verify": Command("freelight verify-shards --shards dataset --level crc", reports=True),
    "decode": Command("freelight verify-shards --shards dataset --level decode", reports=True),
    "pca": Command("freelight compute-pca --shards dataset --out ../out/x.npz"),
    "verify damaged": Command("freelight verify-shards --shards damaged --level crc", reports=True),
    "decode damaged": Command("freelight verify-shards --shards damaged --level decode", reports=True),
    "damaged pca": Command("freelight compute-pca --shards damaged --out ../out/x.npz"),
    "evaluate damaged": Command("freelight evaluate --checkpoint run/last.pt --shards damaged --views 1"),
    "own pca": Command("freelight compute-pca --shards dataset", tuple(f"dataset/{name}" for name in STATISTICS)),
    "resumed pca": Command("freelight compute-pca --shards summing", tuple(f"summing/{name}" for name in STATISTICS)),
    "preview": Command("freelight preview --shards dataset --out ../out/x.png --rows 1 --draws 1"),
    "evaluate": Command(f"freelight evaluate {KNOWN} --views 1 --per-class --predictions ../out/p.npz"),
    "rank": Command(f"freelight evaluate {KNOWN} --json"),
    "from": Command(
        "freelight evaluate --shards dataset --from predictions.npz --views 1 --per-class --predictions ../out/p.npz"
    ),
    "search": Command(
        "freelight evaluate --shards dataset --from predictions.npz --from predictions.npz --views 1 --search-weights"
    ),
    "submission": Command(
        f"freelight evaluate {KNOWN} --views 1 --submission ../out/s.txt "
        "--devkit ilsvrc2012/ILSVRC2012_devkit_t12.tar.gz"
    ),
    "remote": Command(
        "freelight evaluate --checkpoint run/last.pt --shards file://{in}/dataset --cache ../out/cache --views 1"
    ),
    "predict": Command("freelight predict --checkpoint run/last.pt photo.JPEG --views 1 --panel ../out/x.png"),
    "find": Command(
        f"freelight find-similar {KNOWN} --features features --rows 2 --nearest 3 --panel ../out/x.png", ("features",)
    ),
    "continue": Command(f"freelight find-similar {KNOWN} --features extracting --rows 2", ("extracting",)),
    "report": Command("freelight report --run run --out ../out/report.html"),
    "full report": Command(
        "freelight report --run run --shards dataset --features features --out ../out/report.html", ("features",)
    ),
    "resume": Command(f"{TRAIN} --shards dataset --out run", ("run",)),
    "train": Command(f"{TRAIN} --shards dataset --out ../out/run"),
    "train sampled": Command(
        f"{TRAIN} --shards dataset --out ../out/run --subset file=listed.txt --class-weights weights.json"
    ),
    "decode ahead": Command("freelight decode --shards dataset --decoded decoded --threads 1", ("decoded",)),
    "train decoded": Command(f"{TRAIN} --shards dataset --decoded decoded --out ../out/run", ("decoded",)),
    "init": Command(f"{TRAIN} --shards dataset --out ../out/run --init-from run/last.pt"),
    "again": Command(
        f"freelight make-shards --images images --out dataset {SIZE} --class-names images/class-names.tsv",
        ("dataset/.partial",),
    ),
    "repair": Command("freelight make-shards --repair --out dataset", ("dataset",)),
    "repair lost": Command("freelight make-shards --repair --out lost", ("lost",)),
    "make": Command(f"{MAKE} --images tree"),
    "make original": Command(
        "freelight make-shards --out ../out/made --images tree --geometry original --max-rejected 0.9"
    ),
    "plan shorter": Command("freelight make-shards --out ../out/made --images tree --geometry shorter --dry-run"),
    "decode whole": Command("freelight verify-shards --shards whole --level decode", reports=True),
    "whole pca": Command("freelight compute-pca --shards whole", tuple(f"whole/{name}" for name in STATISTICS)),
    "again whole": Command(
        "freelight make-shards --images tree --out whole --geometry original --metadata", ("whole/.partial",)
    ),
    "make named": Command(f"{MAKE} --images tree --class-names tree/names.tsv --classes tree/classes.txt"),
    "continue making": Command(
        f"freelight make-shards --images images --out making {SIZE} --max-rejected 0.9", ("making",)
    ),
    "continue staging": Command(
        f"freelight make-shards --images huggingface --out staging {SIZE} --max-rejected 0.9", ("staging",)
    ),
    "table of parts": Command("freelight gpu-acceptance --out acceptance --table"),
    "plan": Command("freelight reproduce table1 --data nothing --out claim", ("claim",)),
    **{
        f"make {name}": Command(f"{MAKE} --images {name}")
        for name in (
            *("ilsvrc2012", "ilsvrc2010", "kaggle", "huggingface", "fall2011", "parquet", "webdataset"),
            *("cifar-binary", "cifar-python", "cifar-unpacked", "tiny"),
        )
    },
    "index": Command(f"{INDEX} --class-names README.md"),
    "index and decode": Command(f"{INDEX} --label json:label --field labels=json:label --check decode"),
    "continue indexing": Command(
        "freelight index-shards --split train=./webdataset/imagenet1k-train-0000.tar --split train=./cut.tar "
        "--out indexing",
        ("indexing",),
    ),
    "verify indexed": Command("freelight verify-shards --shards indexed --level decode", reports=True),
    "pca indexed": Command("freelight compute-pca --shards indexed --out ../out/x.npz"),
    "make from indexed": Command(f"{MAKE} --images indexed"),
    "make from dataset": Command(f"{MAKE} --images dataset"),
    "read recipe": Command("train --recipe recipe.toml --save-recipe ../out/x.toml"),
    "make ilsvrc order": Command(f"{MAKE} --images ilsvrc2012 --label-order ilsvrc --dry-run"),
}


@dataclass(frozen=True)
class Kind:
    """files: each with the forms of its edits. commands: names of those that read the files.

    sealed: a dataset's manifest holds the files' hashes. weight: how often it is chosen.
    """

    files: dict[str, tuple[str, ...]]
    commands: tuple[str, ...]
    sealed: bool = False
    weight: int = 1


READERS = ("verify", "decode", "pca", "preview", "evaluate", "remote", "full report", "find", "resume", "train")
SHARDS = ("dataset/train-000000.tar", "dataset/val-000000.tar")
FEATURES = ("features/train.fc7", "features/val.fc7")
KINDS = {
    "manifest": Kind(
        {"dataset/dataset.json": ("json", "json", "json", "bytes")},
        (*READERS, "rank", "submission", "own pca", "again", "repair"),
        True,
        3,
    ),
    "second manifest": Kind({"lost/_info.json": ("json", "json", "bytes")}, ("repair lost",), True),
    "samples table": Kind(
        {f"dataset/{split}.samples.npy": ("npy", "npy", "npy", "bytes") for split in ("train", "val")}, READERS, True, 2
    ),
    "index": Kind(
        {f"dataset/{split}-000000.idx": ("words", "words", "bytes") for split in ("train", "val")}, READERS, True
    ),
    "index of a damaged shard": Kind(
        {
            **{f"damaged/{split}-000000.idx": ("words", "words", "bytes") for split in ("train", "val")},
            **{f"damaged/{split}.sources.txt": ("words", "bytes") for split in ("train", "val")},
        },
        ("verify damaged", "decode damaged", "damaged pca", "evaluate damaged"),
        True,
    ),
    "shard": Kind(
        dict.fromkeys(SHARDS, ("tar header", "bytes", "bytes", "jpeg frame", "jpeg frame", "sample")),
        (*READERS, "repair"),
        True,
        2,
    ),
    "whole images": Kind(
        {
            "whole/dataset.json": ("json", "json", "bytes"),
            "whole/train.samples.npy": ("npy", "npy", "bytes"),
            "whole/train.metadata.npy": ("npy", "npy", "bytes"),
            "whole/train-000000.tar": ("bytes", "jpeg frame", "jpeg frame", "sample"),
        },
        ("decode whole", "whole pca", "again whole"),
        True,
        2,
    ),
    "statistics of whole images": Kind({"whole/statistics.npz": ("npz", "npz", "zip entry", "bytes")}, ("whole pca",)),
    "decoded pixels": Kind(
        {
            "decoded/train.decoded.json": ("json", "json", "bytes"),
            "decoded/train.decoded.table": ("bytes",),
            "decoded/val.decoded.pixels": ("bytes",),
        },
        ("decode ahead", "train decoded"),
    ),
    "sampling plan": Kind(
        {"listed.txt": ("words", "words", "bytes"), "weights.json": ("json", "json", "bytes")}, ("train sampled",)
    ),
    "sources list": Kind(
        {f"dataset/{split}.sources.txt": ("words", "words", "bytes") for split in ("train", "val")},
        ("verify", "evaluate", "full report", "find", "preview", "submission"),
        True,
    ),
    "rejects": Kind({"dataset/rejected.jsonl": ("json lines", "bytes")}, ("verify", "remote"), True),
    "statistics": Kind(
        {"dataset/statistics.npz": ("npz", "npz", "npz", "zip entry", "bytes")},
        ("preview", "train", "own pca", "resume"),
        weight=2,
    ),
    "partial sums": Kind({"summing/.statistics.npz.partial": ("npz", "npz", "zip entry", "bytes")}, ("resumed pca",)),
    "checkpoint": Kind(
        {"run/last.pt": ("torch", "torch", "torch", "tensor", "zip entry", "bytes")},
        ("evaluate", "rank", "predict", "find", "report", "full report", "resume", "resume", "init"),
        weight=4,
    ),
    "predictions": Kind({"predictions.npz": ("npz", "npz", "npz", "zip entry", "bytes")}, ("from", "search"), weight=2),
    "features": Kind({f"{path}.npy": ("npy", "npy", "bytes") for path in FEATURES}, ("find", "full report")),
    "features note": Kind({f"{path}.json": ("json", "json", "bytes") for path in FEATURES}, ("find", "full report")),
    "partial features": Kind(
        {"extracting/val.fc7.npy.partial": ("npy", "npy", "bytes"), "extracting/val.fc7.json": ("json",)}, ("continue",)
    ),
    "metrics": Kind(
        {"run/metrics.jsonl": ("json lines", "json lines", "bytes")}, ("report", "report", "full report", "resume")
    ),
    "recipe": Kind({"recipe.toml": ("words", "words", "bytes")}, ("read recipe",)),
    "acceptance": Kind({"acceptance/parts/smoke.json": ("json", "json", "bytes")}, ("table of parts",)),
    "environment": Kind({"run/environment.json": ("json", "json", "bytes")}, ("report", "resume")),
    "claim": Kind({"claim/cnn2010-ten-views.json": ("json", "bytes")}, ("plan",)),
    "devkit": Kind(
        {
            "ilsvrc2012/ILSVRC2012_devkit_t12.tar.gz": (
                *("meta.mat bytes", "meta.mat bytes", "meta.mat table", "meta.mat table"),
                *("ground truth", "gzipped tar header", "gzipped bytes", "bytes"),
            )
        },
        ("make ilsvrc2012", "make ilsvrc order", "submission"),
        weight=2,
    ),
    "tar": Kind(
        {
            **{
                f"ilsvrc2012/ILSVRC2012_img_{name}.tar": ("tar header", "tar header", "bytes")
                for name in ("train", "val")
            },
            "ilsvrc2012/ILSVRC2012_img_test_v10102019.tar": ("tar header",),
        },
        ("make ilsvrc2012",),
        weight=2,
    ),
    "tars of 2010": Kind(
        {
            **{f"ilsvrc2010/ILSVRC2010_images_{name}.tar": ("tar header", "bytes") for name in ("train", "test")},
            "ilsvrc2010/patch_images.tar": ("tar header",),
            "ilsvrc2010/ILSVRC2010_test_ground_truth.txt": ("words",),
            "ilsvrc2010/ILSVRC2010_devkit-1.0.tar.gz": ("meta.mat table",),
        },
        ("make ilsvrc2010",),
    ),
    "tar.gz": Kind(
        {
            "huggingface/train_images_0.tar.gz": ("gzipped tar header", "gzipped tar header", "gzipped bytes", "bytes"),
            "huggingface/val_images.tar.gz": ("gzipped tar header",),
        },
        ("make huggingface",),
    ),
    "whole tar.gz": Kind(
        {"fall2011/fall11_whole.tar.gz": ("gzipped tar header", "gzipped tar header", "gzipped bytes", "bytes")},
        ("make fall2011",),
    ),
    "parquet": Kind(
        {"parquet/train-00000-of-00001.parquet": ("parquet", "parquet", "parquet", "bytes")},
        ("make parquet",),
        weight=2,
    ),
    "kaggle's texts": Kind(
        {"kaggle/LOC_val_solution.csv": ("commas", "bytes"), "kaggle/LOC_synset_mapping.txt": ("words", "bytes")},
        ("make kaggle",),
    ),
    "tiny imagenet's texts": Kind(
        {
            f"tiny/tiny-imagenet-200/{name}": ("tabs", "bytes")
            for name in ("wnids.txt", "words.txt", "val/val_annotations.txt")
        },
        ("make tiny",),
    ),
    "cifar-10": Kind(
        {
            "cifar-binary/cifar-10-binary.tar.gz": ("gzipped tar header", "gzipped bytes", "bytes"),
            "cifar-python/cifar-10-python.tar.gz": ("gzipped tar header", "gzipped bytes"),
            **{f"cifar-unpacked/{name}": ("bytes",) for name in ("data_batch_1", "test_batch", "batches.meta")},
        },
        ("make cifar-binary", "make cifar-python", "make cifar-unpacked"),
        weight=2,
    ),
    "webdataset": Kind(
        {
            **{
                f"webdataset/imagenet1k-train-000{number}.tar": ("tar header", "tar header", "bytes")
                for number in (0, 1)
            },
            "webdataset/classes.json": ("json", "bytes"),
        },
        ("make webdataset",),
    ),
    "tars to index": Kind(
        {
            "webdataset/imagenet1k-train-0001.tar": ("tar header", "tar header", "bytes", "jpeg frame", "sample"),
            "README.md": ("words", "bytes"),
        },
        ("index", "index and decode"),
    ),
    "unfinished index": Kind(
        {
            "indexing/.partial/plan.json": ("json", "bytes"),
            "indexing/.partial/train-000000.record": ("json", "json", "bytes"),
        },
        ("continue indexing",),
    ),
    "indexed tars": Kind(
        {
            "indexed/dataset.json": ("json", "json", "bytes"),
            "indexed/train.samples.npy": ("npy", "npy", "bytes"),
            "indexed/train.labels.values.npy": ("npy", "bytes"),
            "indexed/train.labels.offsets.npy": ("npy", "npy", "bytes"),
            "indexed/train-000000.idx": ("words", "words", "bytes"),
            "indexed/train-000000.tar": ("tar header", "bytes", "jpeg frame", "sample"),
        },
        ("verify indexed", "pca indexed", "make from indexed"),
        True,
    ),
    "dataset as a source": Kind(
        {
            "dataset/dataset.json": ("json", "json", "bytes"),
            "dataset/train.samples.npy": ("npy", "npy", "bytes"),
            "dataset/train-000000.idx": ("words", "words", "bytes"),
            "dataset/train-000000.tar": ("bytes", "jpeg frame"),
        },
        ("make from dataset",),
        True,
    ),
    "lists of classes": Kind(
        {"tree/names.tsv": ("tabs", "bytes"), "tree/classes.txt": ("words", "bytes")}, ("make named",)
    ),
    "picture": Kind({"photo.JPEG": ("picture", "picture", "bytes", "jpeg frame")}, ("predict",), weight=2),
    "pictures of a source": Kind(
        {
            "tree/class0/1.JPEG": ("picture", "picture", "bytes", "jpeg frame"),
            "tree/class0/6.png": ("png size", "bytes"),
        },
        ("make", "make original", "plan shorter"),
        weight=2,
    ),
    "unfinished dataset": Kind(
        {
            "making/.partial/plan.json": ("json", "bytes"),
            "making/.partial/train-000000.record": ("json", "json", "bytes"),
        },
        ("continue making",),
    ),
    "segments": Kind(
        {
            **{f"staging/.partial/staged/00000{number}-000001.json": ("json", "json", "bytes") for number in (0, 1)},
            "staging/.partial/staged/000000-000001.bin": ("bytes",),
            "staging/.partial/staged/000000.finished": ("words", "bytes"),
            "staging/.partial/plan.json": ("json",),
            "staging/.partial/train-000000.record": ("json", "json"),
        },
        ("continue staging",),
    ),
}
