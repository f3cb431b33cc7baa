"""index_shards makes a dataset of existing tars: not a byte of them changes, and every part of Freelight reads it."""

import gzip
import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from foreign_tars import drawn, sample, write_tars
from making import SMALL, files
from miniatures import WNIDS, tar_of
from PIL import Image
from wds2idx import IndexCreator

from freelight.shards import Dataset, FreelightError, index_shards, list_images, list_tars, make_shards, verify_dataset
from freelight.shards.dataset import METADATA


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def splits_of(folder: Path) -> list[str]:
    return [f"train={folder}/imagenet1k-train-*.tar", f"validation={folder}/imagenet1k-validation-*.tar"]


def test_the_table_has_every_sample_of_the_tars_in_order(indexed: Dataset, foreign_tars: Path) -> None:
    manifest = indexed.manifest
    assert [info.id for info in manifest.classes] == sorted(WNIDS)
    assert {name: info.samples for name, info in manifest.splits.items()} == {"train": 33, "val": 9}
    assert "validation is read as the split val" in manifest.source["notes"]
    for name, word in (("train", "train"), ("val", "validation")):
        split = indexed.split(name)
        expected = []
        for tar in sorted(foreign_tars.glob(f"imagenet1k-{word}-*.tar")):
            with tarfile.open(tar) as archive:
                contents = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
            expected += [
                (f"{tar.name}/{key}.jpg", contents[f"{key}.jpg"], int(contents[f"{key}.cls"]), contents[f"{key}.json"])
                for key in dict.fromkeys(member.split(".")[0] for member in contents)
            ]
        assert split.sources == [source for source, *_ in expected]
        assert [split.key(i) for i in range(len(split))] == [Path(source).stem for source, *_ in expected]
        assert [split.read(i) for i in range(len(split))] == [picture for _, picture, *_ in expected]
        assert split.samples["label"].tolist() == [label for *_, label, _ in expected]
        table = np.load(indexed.folder / f"{name}.metadata.npy")
        assert table.dtype == METADATA
        for i, (*_, text) in enumerate(expected):
            shard = indexed.folder / split.info.shards[split.samples["shard"][i]].name
            assert shard.read_bytes()[table["offset"][i] :][: table["length"][i]] == text
            assert split.metadata(i) == json.loads(text)


def test_tars_are_linked_and_unchanged_and_decoding_finds_the_same(
    indexed: Dataset, foreign_tars: Path, tmp_path: Path
) -> None:
    before = hashes(foreign_tars)
    index_shards(list_tars(splits_of(foreign_tars), check="decode"), tmp_path / "out")
    assert hashes(foreign_tars) == before
    link = tmp_path / "out" / "val-000002.tar"
    assert link.readlink() == foreign_tars / "imagenet1k-validation-0002.tar"
    written, known = files(tmp_path / "out"), files(indexed.folder)
    for content in (written, known):
        del content["_info.json"]  # says the same as the manifest
        manifest = json.loads(content.pop("dataset.json"))
        del manifest["sha256"], manifest["source"]["check"], manifest["files"]["_info.json"]
        content["manifest"] = json.dumps(manifest).encode()
    assert written == known


def test_the_index_is_the_one_dalis_own_tool_makes(indexed: Dataset, tmp_path: Path) -> None:
    for link in indexed.folder.glob("*.tar"):
        with IndexCreator(str(link), str(tmp_path / "idx"), verbose=False) as creator:
            creator.create_index()
        assert (tmp_path / "idx").read_text() == link.with_suffix(".idx").read_text()


def test_a_second_run_keeps_the_dataset_and_other_tars_or_settings_are_refused(
    foreign_tars: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = index_shards(list_tars(splits_of(foreign_tars)), out)
    assert index_shards(list_tars(splits_of(foreign_tars)), out) == made
    with pytest.raises(
        FreelightError, match=r"is a finished dataset of other tars, .*label: 'cls' then, 'json:label' now"
    ):
        index_shards(list_tars(splits_of(foreign_tars), label="json:label"), out)
    moved = shutil.copytree(foreign_tars, tmp_path / "moved")
    with pytest.raises(FreelightError, match=r"is a finished dataset of other tars \(.*train-0000.tar\)"):
        index_shards(list_tars(splits_of(moved)), out)
    (out / "train-000001.idx").unlink()
    with pytest.raises(FreelightError, match=r"train-000001.idx is missing; put it back, or index the tars again"):
        index_shards(list_tars(splits_of(foreign_tars)), out)


def test_a_stopped_run_keeps_what_is_done_and_ends_with_the_same_bytes(
    indexed: Dataset, foreign_tars: Path, tmp_path: Path
) -> None:
    """A tar that changed since it was indexed is indexed again, and a file of a record that is damaged too."""

    class Stop(Exception):  # noqa: N818
        pass

    def stop_after_four(records, total):  # type: ignore[no-untyped-def]
        for number, record in enumerate(records):
            if number == 4:
                raise Stop
            yield record

    tars, out = shutil.copytree(foreign_tars, tmp_path / "tars"), tmp_path / "out"
    with pytest.raises(Stop):
        index_shards(list_tars(splits_of(tars)), out, watch=stop_after_four)
    kept = out / ".partial" / "train-000001.npy"
    time, damaged = kept.stat().st_mtime_ns, out / ".partial" / "train-000002.txt"
    damaged.write_text("damaged\n")
    (tars / "imagenet1k-train-0000.tar").touch()
    again = []
    index_shards(
        list_tars(splits_of(tars)), out, watch=lambda records, _: (again.append(kept.stat().st_mtime_ns), records)[1]
    )
    assert again == [time]
    made, expected = files(out), files(indexed.folder)
    for content in (made, expected):  # they say where the tars lie
        del content["dataset.json"], content["_info.json"]
    assert made == expected
    shutil.rmtree(out)
    with pytest.raises(Stop):
        index_shards(list_tars(splits_of(tars)), out, watch=stop_after_four)
    with pytest.raises(FreelightError, match="was started with other tars or another command"):
        index_shards(list_tars(splits_of(tars)[:1]), out)


BAD = {
    "no label": (
        [("a.jpg", drawn(1)), ("a.json", b"{}")],
        "has no label; name its place among jpg, json with `label`, as in json:label",
    ),
    "no picture": ([("a.cls", b"1"), ("a.txt", b"x")], "has no picture, only: cls, txt"),
    "two pictures": ([("a.jpg", drawn(1)), ("a.png", drawn(1)), ("a.cls", b"1")], "has several pictures"),
    "twice": ([("a.jpg", drawn(1)), ("a.jpg", drawn(1)), ("a.cls", b"1")], "has two members of one name"),
    "apart": (
        [*sample(1), ("b.jpg", b"x"), (sample(1)[1][0], b"2")],
        "its key stands before in the tar; the members of a sample must follow each other",
    ),
    "text": ([("a.jpg", b"hello"), ("a.cls", b"1")], "is not a JPEG, PNG or WebP"),
    "cut": ([("a.jpg", drawn(1)[:150]), ("a.cls", b"1")], "its header is cut short"),
    "no number": ([("a.jpg", drawn(1)), ("a.cls", b"-7")], "its .cls has no class number or id"),
    "no text": ([("a.jpg", drawn(1)), ("a.cls", b"\xff")], "its .cls is not UTF-8 text"),
    "large": (
        [*sample(1)[:2], ("n01751748_1.json", b" " * (2**20 + 1))],
        "its .json has 1048577 bytes; at most 1048576 are read",
    ),
    "long": ([("a.jpg", drawn(1)), ("a.cls", b"1" * 300)], "its .cls has 300 bytes; at most 256 are read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_sample_that_cannot_be_used_is_listed_with_the_reason(case: str, tmp_path: Path) -> None:
    members, reason = BAD[case]
    good = sample(5)
    tar = tmp_path / "t.tar"
    tar.write_bytes(tar_of([*members, *good]))
    manifest = index_shards(list_tars([f"train={tar}"]), tmp_path / "out", max_rejected=0.9)
    *_, last = map(json.loads, (tmp_path / "out" / "rejected.jsonl").read_text().splitlines())
    assert (last["split"], last["reason"]) == ("train", reason)
    assert last["path"].startswith("t.tar/")
    assert Dataset(tmp_path / "out").split("train").sources[-1] == f"t.tar/{good[0][0]}"
    assert manifest.splits["train"].rejected >= 1
    with pytest.raises(FreelightError, match=r"\d images? rejected, but `max_rejected` allows 0.1 of \d; the last: "):
        index_shards(list_tars([f"train={tar}"]), tmp_path / "other", max_rejected=0.1)


def test_decoding_finds_what_the_headers_do_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A JPEG cut in its pixels, and a PNG whose pixels are damaged; DALI says so on standard error."""
    png = bytearray(drawn(2, kind="PNG"))
    png[len(png) // 2] ^= 0xFF
    broken = [sample(1, drawn(1)[:-300]), sample(2, bytes(png), suffix="png")]
    (tar,) = write_tars(tmp_path, "t", [sample(0), *broken, sample(3)], 4)
    made = index_shards(list_tars([f"train={tar}"]), tmp_path / "crc")
    assert made.splits["train"].samples == 4
    made = index_shards(list_tars([f"train={tar}"], check="decode"), tmp_path / "decode")
    rejected = [json.loads(line) for line in (tmp_path / "decode" / "rejected.jsonl").read_text().splitlines()]
    assert [line["path"] for line in rejected] == ["t-0000.tar/n01751748_1", "t-0000.tar/n02119789_2"]
    assert {line["reason"] for line in rejected} == {"DALI does not decode it, or not to the size in its header"}
    assert [problem.count("does not decode") for problem in verify_dataset(tmp_path / "crc", level="decode")] == [1, 1]
    assert verify_dataset(tmp_path / "decode", level="decode") == []
    capfd.readouterr()


def test_labels_and_classes(foreign_tars: Path, tmp_path: Path) -> None:
    tar = foreign_tars / "imagenet1k-train-0000.tar"

    def classes(*, keys: bool = True, **options: object) -> list[tuple[str, str]]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        path = tar
        if not keys:
            path = tmp_path / "plain.tar"
            path.write_bytes(
                tar_of(
                    [(f"a{n}.{kind}", data) for n in range(3) for kind, data in (("jpg", drawn(n)), ("cls", b"%d" % n))]
                )
            )
        made = index_shards(list_tars([f"train={path}"], **options), tmp_path / "out")  # type: ignore[arg-type]
        return [(info.id, info.name) for info in made.classes]

    (tmp_path / "n.tsv").write_text("x1\tone\nx0\tzero\nx2\ttwo\nx3\tthree\nx4\tfour\n")
    (tmp_path / "n.json").write_text('{"classes": ["zero", "one", "two", "three"]}')
    (tmp_path / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
        "          '0': tench, Tinca tinca\n          '1': 'it''s'\n          '2': \"c \\U0001f600\\\"\"\n---\n# x\n"
    )
    assert classes() == [(wnid, wnid) for wnid in sorted(WNIDS)]
    assert classes(label="json:label") == classes()
    assert classes(class_names=tmp_path / "n.tsv") == [
        ("x1", "one"),
        ("x0", "zero"),
        ("x2", "two"),
        ("x3", "three"),
        ("x4", "four"),
    ]
    assert Dataset(tmp_path / "out").manifest.label_order == "shards"
    assert classes(class_names=tmp_path / "n.json") == list(
        zip(sorted(WNIDS), ("zero", "one", "two", "three"), strict=True)
    )
    assert classes(keys=False) == [("00000", "tench, Tinca tinca"), ("00001", "it's"), ("00002", 'c \U0001f600"')], (
        "the card beside it"
    )
    with pytest.raises(FreelightError, match="has the label 3, but only 3 classes are listed, from 0"):
        classes(class_names=tmp_path / "README.md")
    ids = [
        [("k1.jpg", drawn(1)), ("k1.json", b'{"a": {"wnid": "n2"}}')],
        [("k2.jpg", drawn(2)), ("k2.json", b'{"a": {"wnid": "n1"}}')],
    ]
    (path,) = write_tars(tmp_path / "ids", "t", ids, 2)
    index_shards(list_tars([f"train={path}"], label="json:a.wnid"), tmp_path / "named")
    assert Dataset(tmp_path / "named").split("train").samples["label"].tolist() == [1, 0]


def test_an_indexed_dataset_is_a_source_of_make_shards(indexed: Dataset, foreign_tars: Path, tmp_path: Path) -> None:
    """Its pictures are those of the tars, by the same names."""

    def made(name: str, images: Path) -> dict[str, tuple[int, bytes]]:
        source = list_images(images)
        make_shards(source, tmp_path / name, SMALL)
        split = Dataset(tmp_path / name).split("train")
        labels = split.samples["label"].tolist()
        return {path: (labels[index], split.read(index)) for index, path in enumerate(split.sources)}

    assert made("a", indexed.folder) == made("b", foreign_tars)


def test_a_test_split_may_lack_labels(tmp_path: Path) -> None:
    (tar,) = write_tars(tmp_path, "t", [[("a.jpg", drawn(1))], [("b.jpg", drawn(2))]], 2)
    index_shards(
        list_tars([f"train={write_tars(tmp_path, 'u', [sample(1)], 1)[0]}", f"testing={tar}"]), tmp_path / "out"
    )
    split = Dataset(tmp_path / "out").split("test")
    assert (split.samples["label"].tolist(), split.info.labelled) == ([-1, -1], False)


def test_keys_may_hold_spaces_and_folders_and_pictures_long_extensions(tmp_path: Path) -> None:
    """DALI's index has no way to write a space, so it has %20 there."""
    members = [("./my pics/a b%.jpg", drawn(1)), ("./my pics/a b%.cls", b"0"), ("é.seg.png", drawn(1, kind="PNG"))]
    members += [("é.JPG", drawn(2)), ("é.cls", b"1"), (".hidden", b"x"), ("noextension", b"y")]
    (tmp_path / "t.tar").write_bytes(tar_of(members))
    made = index_shards(list_tars([f"train={tmp_path}/t.tar"]), tmp_path / "out")
    split = Dataset(tmp_path / "out").split("train")
    assert [split.key(0), split.key(1)] == ["./my pics/a b%", "é"]
    assert split.sources == ["t.tar/./my pics/a b%.jpg", "t.tar/é.JPG"]
    assert (tmp_path / "out" / "train-000000.idx").read_text().split("\n")[1].split(" ")[
        3
    ] == "./my%20pics/a%20b%25.jpg"
    assert "2 members without a key and an extension are ignored" in made.source["notes"]
    assert verify_dataset(tmp_path / "out", level="decode") == []


def test_verification_names_what_is_changed(indexed: Dataset, foreign_tars: Path, tmp_path: Path) -> None:
    tars, out = shutil.copytree(foreign_tars, tmp_path / "tars"), tmp_path / "out"
    index_shards(list_tars(splits_of(tars)), out)
    for level in ("hash", "crc", "decode"):
        assert verify_dataset(out, level=level) == []
    split = Dataset(out).split("train")
    one, two, three = sorted(tars.glob("*train*.tar"))
    damaged = bytearray(one.read_bytes())
    damaged[int(split.samples["offset"][3]) + 100] ^= 1
    one.write_bytes(damaged)
    around = bytearray(two.read_bytes())
    around[-1] = 1
    two.write_bytes(around)
    three.unlink()
    assert verify_dataset(out) == [
        f"{out}/train-000000.tar: the sample from {split.sources[3]} is changed (crc32 differs)",
        f"{out}/train-000001.tar was changed around its pictures since it was indexed; put the original back, or index "
        "again",
        f"{out}/train-000002.tar, a link to {three}, is missing",
    ]
    with pytest.raises(FreelightError, match=rf"train-000002.tar, a link to {three}, is missing, though the manifest"):
        Dataset(out).split("train").read(32)


def test_a_pictures_upright_size_is_in_the_table(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = [
        (drawn(1, size=(30, 20), exif=turned), "jpg"),
        (drawn(1, size=(30, 20), mode="CMYK"), "jpg"),
        (drawn(1, size=(30, 20), mode="L"), "jpeg"),
        (drawn(1, size=(30, 20), kind="PNG", mode="RGBA"), "png"),
        (drawn(1, size=(30, 20), kind="PNG", exif=turned), "png"),
        (drawn(1, size=(30, 20), kind="WEBP", exif=turned), "webp"),
        (drawn(1, size=(30, 20), kind="WEBP", lossless=True), "webp"),
        (drawn(1, size=(30, 20), kind="WEBP", mode="RGBA"), "webp"),
    ]
    samples = [sample(number, data, suffix=suffix) for number, (data, suffix) in enumerate(pictures)]
    (tar,) = write_tars(tmp_path, "t", samples, 9)
    made = index_shards(list_tars([f"train={tar}"], check="decode"), tmp_path / "out")
    split = Dataset(tmp_path / "out").split("train")
    for index, (data, _) in enumerate(pictures):
        assert split.read(index) == data
        picture = split.decode(index, data)
        assert picture.size == (split.samples["width"][index], split.samples["height"][index])
    turned_ones = [0, 4, 5]
    assert split.samples["height"].tolist() == [30 if index in turned_ones else 20 for index in range(8)]
    assert made.splits["train"].kinds == {"cmyk": 1, "colour": 6, "greyscale": 1}
    assert made.image_size is None


def test_two_exif_blocks_that_differ_are_refused_because_they_kill_dali(tmp_path: Path) -> None:
    def block(orientation: int) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = exif.tobytes()
        return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content

    jpeg = drawn(1, size=(30, 20))
    (tar,) = write_tars(tmp_path, "t", [sample(0), sample(1, jpeg[:2] + block(6) + block(3) + jpeg[2:])], 2)
    index_shards(list_tars([f"train={tar}"], check="decode"), tmp_path / "out", max_rejected=1)
    assert json.loads((tmp_path / "out" / "rejected.jsonl").read_text())["reason"] == "has several EXIF blocks"


def test_a_damaged_tar_stops_the_run_with_its_name(tmp_path: Path) -> None:
    (tar,) = write_tars(tmp_path, "t", [sample(0)], 1)
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(
        FreelightError, match=r"t-0000.tar is cut short within n01440764_0.jpg, at byte 512; fetch it again"
    ):
        index_shards(list_tars([f"train={tar}"]), tmp_path / "out")
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(tar_of(sample(0))))
    with pytest.raises(FreelightError, match=r"t.tar.gz is compressed, so its samples cannot be read in place"):
        index_shards(list_tars([f"train={tmp_path}/t.tar.gz"]), tmp_path / "gz")
    (tmp_path / "empty.tar").write_bytes(tar_of([]))
    with pytest.raises(FreelightError, match="no sample of the split 'train' can be used; its tars hold none"):
        index_shards(list_tars([f"train={tmp_path}/empty.tar"]), tmp_path / "none")
