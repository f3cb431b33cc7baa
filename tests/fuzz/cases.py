"""Cases: edits of one sound file and a command that reads it, as a JSON object that can be kept and replayed."""

import hashlib
import json
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from edits import NotApplicableError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from kinds import COMMANDS, FORMS, KINDS

from freelight.shards import Dataset
from freelight.shards.dataset import SAMPLE

Case = dict[str, Any]
HASHES, CRCS = "hashes", "crc32s"
"""What is corrected after an edit of a dataset's file: hashes and sizes in the manifest; also the samples' crc32s."""


@st.composite
def _cases(draw: st.DrawFn, kind: str, corpus: Path) -> Case:
    chosen = KINDS[kind]
    file = draw(st.sampled_from(sorted(chosen.files)))
    form = draw(st.sampled_from(chosen.files[file]))
    data = (corpus / file).read_bytes()
    edits = [draw(FORMS[form].draw(data)) for _ in range(draw(st.sampled_from([1, 1, 1, 2])))]
    case = {"kind": kind, "file": file, "form": form, "edits": edits, "command": draw(st.sampled_from(chosen.commands))}
    if chosen.sealed:
        case["corrected"] = draw(st.sampled_from(["", HASHES, HASHES, CRCS]))
    return case


def draw_cases(kind: str, corpus: Path, count: int, seed_text: str) -> list[Case]:
    """Return at most `count` cases of a kind; the same text gives the same ones."""
    found: list[Case] = []
    number = int.from_bytes(hashlib.sha256(seed_text.encode()).digest()[:8])

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(_cases(kind, corpus))
    def collect(case: Case) -> None:
        found.append(json.loads(json.dumps(case)))

    collect()
    return found


def passes_checksums(case: Case) -> bool:
    """Tell whether no checksum, of the manifest or of the file's own format, stands in the way of the edit."""
    if KINDS[case["kind"]].sealed:
        return bool(case["corrected"])
    checked = (".npz", ".pt", ".gz", ".png", ".partial")
    return not (FORMS[case["form"]].raw and case["file"].endswith(checked))


def prepare(case: Case, corpus: Path, folder: Path) -> bool:
    """Copy the case's sound files into `folder` / "in" and edit one; return whether its bytes changed.

    Raises `NotApplicableError` if the file's format cannot hold the edit.
    """
    sound = (corpus / case["file"]).read_bytes()
    data = sound
    for edit in case["edits"]:
        try:
            data = FORMS[case["form"]].apply(data, edit, str(folder / "outside"))
        except NotApplicableError:
            raise
        except Exception as error:  # a parser's, of a file that an earlier edit broke
            raise NotApplicableError from error
    line = COMMANDS[case["command"]].line
    for source in corpus.iterdir():
        if source.name == case["file"].partition("/")[0] or source.name in line.replace("/", " ").split():
            if source.is_dir():
                shutil.copytree(source, folder / "in" / source.name)
            else:
                shutil.copy2(source, folder / "in" / source.name)
    (folder / "in" / case["file"]).write_bytes(data)
    if case.get("corrected"):
        _correct((folder / "in" / case["file"]).parent, Path(case["file"]).name, crcs=case["corrected"] == CRCS)
    return data != sound


def _correct(folder: Path, edited: str, *, crcs: bool) -> None:
    """Correct what the manifest and the tables of a dataset say of the file `edited`, as far as they can be read.

    A manifest, and `_info.json` without one, has its own hash corrected.
    """
    with suppress(ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        path = folder / "dataset.json"
        if not path.exists():
            path = folder / "_info.json"
        manifest = json.loads(path.read_text())
        names = {edited}
        split, _, rest = edited.partition("-")
        if rest.endswith(".tar"):
            if crcs and _correct_crcs(folder, split, int(rest[:6]), edited):
                names.add(f"{split}.samples.npy")
            for shard in manifest["splits"][split]["shards"]:
                if shard["name"] == edited:
                    data = (folder / edited).read_bytes()
                    shard |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for files in (manifest["files"], *(split["files"] for split in manifest["splits"].values())):
            for name in names & set(files):
                files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        manifest.pop("sha256")
        manifest["sha256"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
        path.write_text(json.dumps(manifest, indent=1) + "\n")
    with suppress(Exception):  # whether the dataset can be opened is what the command is tested for
        _correct_statistics(folder, Dataset(folder).fingerprint)


def _correct_crcs(folder: Path, split: str, shard: int, name: str) -> bool:
    table = np.load(folder / f"{split}.samples.npy")
    assert table.dtype == SAMPLE
    data = (folder / name).read_bytes()
    for row in table:
        if row["shard"] == shard:
            row["crc32"] = zlib.crc32(data[int(row["offset"]) :][: int(row["length"])])
    np.save(folder / f"{split}.samples.npy", table)
    return True


def _correct_statistics(folder: Path, fingerprint: str) -> None:
    """Make the statistics belong to the edited dataset, so that they are not refused before the edit is noticed."""
    with np.load(folder / "statistics.npz") as archive:
        content = {**archive, "fingerprint": fingerprint}
    np.savez(folder / "statistics.npz", **content)
