"""Unpack one part of a bundle that `freelight gpu-bundle` made; with the last part, install everything.

Copied into each part as `unpack.py`. Needs Python's standard library and pip, and no network. Usage: python3
PART/unpack.py FOLDER, for each part in any order. FOLDER/venv/bin/python then has Freelight and sees the packages of
the Python that unpacked it, torch among them.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from typing import Any

MANIFEST = "bundle.json"
WHEELS, SOURCE, DATASET = "wheels", "freelight.tar", "dataset.tar"
CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """Return a file's sha256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def keep_pieces(part: Path, folder: Path) -> dict[str, Any]:
    """Copy the pieces of a part into `folder/pieces`, if they are whole. Return the bundle's manifest."""
    manifest: dict[str, Any] = json.loads((part / MANIFEST).read_text())
    pieces = folder / "pieces"
    pieces.mkdir(parents=True, exist_ok=True)
    for file in manifest["files"]:
        for piece in file["pieces"]:
            if piece["part"] == part.name:
                if sha256_of(part / piece["name"]) != piece["sha256"]:
                    sys.exit(f"error: {part / piece['name']} is damaged; copy it again")
                shutil.copyfile(part / piece["name"], pieces / piece["name"])
    return manifest


def missing_parts(manifest: dict[str, Any], folder: Path) -> list[str]:
    """Return the names of the parts that were not unpacked yet."""
    return sorted(
        {
            piece["part"]
            for file in manifest["files"]
            for piece in file["pieces"]
            if not (folder / "pieces" / piece["name"]).exists()
        }
    )


def join_files(manifest: dict[str, Any], folder: Path) -> None:
    """Write each file from its pieces, and check it."""
    for file in manifest["files"]:
        path = folder / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            for piece in file["pieces"]:
                with (folder / "pieces" / piece["name"]).open("rb") as part:
                    shutil.copyfileobj(part, out, CHUNK)
        if sha256_of(path) != file["sha256"]:
            sys.exit(f"error: {path} differs from what was packed; unpack all parts again")


def install(folder: Path) -> Path:
    """Unpack the source and the dataset, and make the environment. Return its Python."""
    for name in (SOURCE, DATASET):
        if (folder / name).exists():
            with tarfile.open(folder / name) as tar:
                tar.extractall(folder / name.removesuffix(".tar"), filter="data")
    environment = folder / "venv"
    venv.create(environment, clear=True, with_pip=False)
    (site,) = environment.glob("lib/python*/site-packages")
    # Folders of sys.path, not an environment in an environment: that would see the outer one's base only.
    standard = sysconfig.get_path("stdlib")
    others = [path for path in sys.path[1:] if Path(path).is_dir() and (standard not in path or "-packages" in path)]
    (site / "others.pth").write_text("\n".join(others) + "\n")
    wheels = sorted((folder / WHEELS).glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-compile", "--upgrade", "--target", site, *wheels], check=True)
    link_source(folder / SOURCE.removesuffix(".tar"), site / "freelight")
    return environment / "bin" / "python"


def link_source(source: Path, package: Path) -> None:
    """Link the folders of the source under their import names: an editable installation without building a wheel."""
    package.mkdir()
    folders = [source / name for name in ("shards", "pipeline", "train")]
    for path in (*(source / "tools" / "freelight").iterdir(), *folders):
        (package / path.name).symlink_to(path.resolve())


def main() -> None:
    """Unpack this part."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python3 {sys.argv[0]} FOLDER")
    part, folder = Path(__file__).resolve().parent, Path(sys.argv[1]).resolve()
    manifest = keep_pieces(part, folder)
    missing = missing_parts(manifest, folder)
    if missing:
        print(f"{part.name}: unpacked; still missing: {', '.join(missing)}")
        return
    join_files(manifest, folder)
    python = install(folder)
    shutil.rmtree(folder / "pieces")
    dataset = f" --shards {folder / 'dataset'}" if (folder / "dataset").exists() else ""
    print(f"installed; run:\n{python} -m freelight gpu-acceptance --out OUT{dataset}")


if __name__ == "__main__":
    main()
