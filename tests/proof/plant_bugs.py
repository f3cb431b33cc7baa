#!/usr/bin/env python3
"""Plant known bugs, one at a time, in a copy of a revision, and tell whether its default tests catch them.

    tests/proof/plant_bugs.py [ROOT] [WORDS...]

ROOT is a clone with its own virtual environment, by default this one; WORDS select bugs by name. For each bug the test
files that should catch it run until the first failure; that test must then pass without the bug. Needs about 5 minutes.
Exit status 1: a bug was missed, or could not be planted because the code changed (then correct its pattern below).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("shards", "pipeline", "train")
IGNORED = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "build", "*.egg-info", "docs")


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One bug.

    edits: (pattern, replacement) pairs; each pattern must match exactly once in the packages. tests: names of test
    files; those that exist run. alternatives: edits for other revisions.
    """

    name: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    alternatives: tuple[tuple[tuple[str, str], ...], ...] = ()


BUGS = (
    Bug(
        name="crop axes: top and left are swapped on the way to DALI",
        edits=(
            (
                r'"top": places\[:, 0\]\.copy\(\), "left": places\[:, 1\]',
                '"top": places[:, 1].copy(), "left": places[:, 0]',
            ),
        ),
        alternatives=(
            (
                (
                    r"top=fractions\[:, 0\]\.copy\(\), left=fractions\[:, 1\]",
                    "top=fractions[:, 1].copy(), left=fractions[:, 0]",
                ),
            ),
        ),
        tests=("test_graph.py",),
    ),
    Bug(
        name="decoded pixels: damaged ones are used",
        edits=((r"is_checked and crc32\(memory\.data\)", "False and crc32(memory.data)"),),
        tests=("test_decoded.py",),
    ),
    Bug(
        name="decoded pixels: crops are cut from the top of the rows that were read",
        edits=((r"window\[top - first : bottom - first", "window[: bottom - top"),),
        tests=("test_decoded.py",),
    ),
    Bug(
        name="mix: the neighbour of a skipped image is mixed",
        edits=((r"is_alone = kept & ~np\.roll\(kept, 1\)", "is_alone = np.zeros_like(kept)"),),
        tests=("test_mixed_batches.py",),
    ),
    Bug(
        name="mix: the weight of CutMix is the one that was drawn",
        edits=((r"return Blend\(1 - \(bottom - top\) [^,]*,", 'return Blend(float(drawn["cutmix"][batch]),'),),
        tests=("test_mix.py",),
    ),
    Bug(
        name="mix: a rank mixes its first image with its own last",
        edits=((r"return self\.mixes and 0 <", "return self.mixes and len(batch) < 0 <"),),
        tests=("test_mixed_batches.py",),
    ),
    Bug(
        name="boxes: a flip does not exchange left and right",
        edits=((r"size - placed\[flipped, 2::-2\]", "size - placed[flipped, 0::2]"),),
        tests=("test_boxes.py",),
    ),
    Bug(
        name="boxes: the drawn crop's place is that of another axis",
        edits=((r"np\.tile\(values\[:, ::-1\], 2\)", "np.tile(values, 2)"),),
        tests=("test_boxes.py",),
    ),
    Bug(
        name="fields: a sample gets the rows of the one before",
        edits=(
            (
                r"np\.cumsum\(np\.concatenate\(counts\), out=offsets\[1:\]\)",
                "np.cumsum(np.roll(np.concatenate(counts), 1), out=offsets[1:])",
            ),
        ),
        tests=("test_fields.py",),
    ),
    Bug(
        name="LRN: sums run across the boundary of the columns",
        edits=((r"exact\.unflatten\(1, \(columns, -1\)\)", "exact.unflatten(1, (1, -1))"),),
        alternatives=(((r"a\.reshape\(a\.shape\[0\] \* columns, a\.shape\[1\] // columns, \*a\.shape\[2:\]\)", "a"),),),
        tests=("test_normalization.py", "test_columns.py"),
    ),
    Bug(
        name="LRN: channels-last, sums run across the boundary of the columns",
        edits=((r"\.unflatten\(3, \(columns, -1\)\)", ".unflatten(3, (1, -1))"),),
        tests=("test_precision.py",),
    ),
    Bug(
        name="exchange: a flipped crop gets the mean image's other side",
        edits=((r"left = np\.where\(flip == 1, self\._side - self\._size - left, left\)", "pass"),),
        tests=("test_finishing.py",),
    ),
    Bug(
        name="moments: a lost carry, the sum image stays uint16",
        edits=((r"sum_image\.astype\(np\.int64\)", "sum_image"),),
        tests=("test_moments.py", "test_computing.py"),
    ),
    Bug(
        name="columns: backward of the logits sums over columns instead of taking a slice",
        edits=(
            (r"return gradient\[:, ctx\.part\]", "return gradient[:, ctx.part] * 2"),
        ),  # both hold the same gradient
        tests=("test_columns.py",),
    ),
    Bug(
        name="ten views: the last corner is one pixel off",
        edits=((r"END: span\}", "END: span - 1}"),),
        tests=("test_crops.py", "test_graph.py"),
    ),
    Bug(
        name="flip: the mean image is not flipped with the crop",
        edits=(
            (
                r"mean = context\.crop_mirror_normalize\(image, mirror=view\.flip, ",
                "mean = context.crop_mirror_normalize(image, ",
            ),
        ),
        alternatives=(((r"_normalize\(mean_image, mirror=flip, ", "_normalize(mean_image, "),),),
        tests=("test_graph.py",),
    ),
    Bug(
        name="SGD: the learning rate is outside the velocity, as in torch.optim",
        edits=(
            (r"weights, alpha=-decay \* learning_rate\)", "weights, alpha=-decay)"),
            (r"gradients, alpha=-learning_rate\)", "gradients, alpha=-1.0)"),
            (r"_foreach_add_\(weights, velocities\)", "_foreach_add_(weights, velocities, alpha=learning_rate)"),
        ),
        alternatives=(
            (
                (
                    r"add_\(weight, alpha=-self\.decays\[name\] \* learning_rate\)",
                    "add_(weight, alpha=-self.decays[name])",
                ),
                (r"add_\(weight\.grad, alpha=-learning_rate\)", "add_(weight.grad, alpha=-1.0)"),
                (r"weight\.add_\(self\.velocity\[name\]\)", "weight.add_(self.velocity[name], alpha=learning_rate)"),
            ),
        ),
        tests=("test_optimizer.py",),
    ),
    Bug(
        name="source recipe: biases decay like weights",
        edits=(
            (
                r'recipe\.bias_weight_decay if name\.endswith\("\.bias"\) else recipe\.weight_decay',
                "recipe.weight_decay",
            ),
        ),
        tests=("test_optimizer.py", "test_recipe.py"),
    ),
    Bug(
        name="loader state: the position counts this rank's samples, not those of all ranks",
        edits=((r"self\._cursor\.advance\(len\(step\)\)", "self._cursor.advance(len(samples))"),),
        tests=("test_states.py", "test_epochs.py"),
    ),
    Bug(
        name="label map: the permutation of class ids is inverted",
        edits=(
            (r"\[own\[class_id\] for class_id in theirs\]", "[theirs.index(class_id) for class_id in self.class_ids]"),
        ),
        tests=("test_checkpoint.py", "test_passes.py", "test_evaluate.py", "test_resume.py"),
    ),
    Bug(
        name="rescaling: an odd offset of the central crop is rounded up",
        edits=(
            (
                r"left, top = \(scaled_width - size\) // 2, \(scaled_height - size\) // 2",
                "left, top = (scaled_width - size + 1) // 2, (scaled_height - size + 1) // 2",
            ),
        ),
        alternatives=(
            (
                (
                    r"Axis\(length, whole, \(whole - part\) // 2, part\)",
                    "Axis(length, whole, (whole - part + 1) // 2, part)",
                ),
            ),
        ),
        tests=("test_rescale.py", "test_rescaling.py"),
    ),
    Bug(
        name="policies: the operations of an image apply in reverse",
        edits=((r"for layer in range\(self\.layers\)", "for layer in reversed(range(self.layers))"),),
        tests=("test_operations.py",),
    ),
    Bug(
        name="RandAugment: the drawn sign is not used",
        edits=((r'values\[drawn\["sign"\], drawn\["operation"\]\]\n', 'values[0, drawn["operation"]]\n'),),
        tests=("test_policies.py",),
    ),
    Bug(
        name="timm's policy: the noise of a magnitude passes the maximum",
        edits=((r"magnitude\.clip\(0, self\.maximum\)", "magnitude.clip(0)"),),
        tests=("test_policies.py",),
    ),
    Bug(
        name="dropout: every replica uses the masks of the batch's first images",
        edits=((r"first = 0 if blank else sum\(shares\[.*?\]\)", "first = 0"),),
        tests=("test_step.py", "test_mesh.py"),
    ),
)


def copy_tree(root: Path, scratch: Path) -> dict[str, str]:
    """Copy the sources and return an environment in which `freelight` is imported from the copy."""
    shutil.copytree(root, scratch, ignore=IGNORED)
    package = scratch / ".import" / "freelight"
    package.mkdir(parents=True)
    parts = [scratch / name for name in PACKAGES]
    if (scratch / "tools" / "freelight").is_dir():
        parts += (scratch / "tools" / "freelight").iterdir()
    for part in parts:
        (package / part.name).symlink_to(part)
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PATH"] = f"{root / '.venv' / 'bin'}:{environment['PATH']}"
    words = [root / ".venv/bin/python", "-c", "import freelight.pipeline as p; print(p.__file__)"]
    found = subprocess.run(words, env=environment, cwd=scratch, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(scratch)), f"freelight is imported from {found}, not from the copy"
    return environment


def plant(scratch: Path, edits: tuple[tuple[str, str], ...]) -> dict[Path, str] | None:
    """Edit the copy; return the former text of each changed file, or None if a pattern does not match exactly once."""
    before: dict[Path, str] = {}
    for pattern, replacement in edits:
        files = [path for package in PACKAGES for path in (scratch / package).rglob("*.py")]
        matching = [path for path in files if re.search(pattern, path.read_text(), re.DOTALL)]
        if len(matching) != 1 or len(re.findall(pattern, text := matching[0].read_text(), re.DOTALL)) != 1:
            restore(before)
            return None
        before.setdefault(matching[0], text)
        matching[0].write_text(re.sub(pattern, lambda _, new=replacement: new, text, flags=re.DOTALL))
    return before


def restore(before: dict[Path, str]) -> None:
    """Write the former texts back."""
    for path, text in before.items():
        path.write_text(text)


def first_failure(root: Path, scratch: Path, environment: dict[str, str], tests: list[str]) -> str | None:
    """Run tests until one fails; return its id, or None if all pass."""
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    words = [root / ".venv/bin/python", "-m", "pytest", *options, *tests]
    done = subprocess.run(words, env=environment, cwd=scratch, capture_output=True, text=True, check=False)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if failed is None and done.returncode not in (0, 1):
        sys.exit(f"pytest ended with {done.returncode}: {done.stdout}{done.stderr}")
    return failed[1] if failed else None


def main(root: Path, words: list[str]) -> int:
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve() / "tree"
        environment = copy_tree(root, scratch)
        for bug in BUGS:
            if words and not any(word in bug.name for word in words):
                continue
            planted = (plant(scratch, edits) for edits in (bug.edits, *bug.alternatives))
            before = next((found for found in planted if found), None)
            tests = [str(path.relative_to(scratch)) for name in bug.tests for path in scratch.glob(f"tests/**/{name}")]
            if before is None or not tests:
                faults += 1
                print(f"NOT PLANTED  {bug.name}", flush=True)
                continue
            failed = first_failure(root, scratch, environment, tests)
            restore(before)
            where = ", ".join(str(path.relative_to(scratch)) for path in before)
            if failed is None:
                verdict = f"MISSED  by {', '.join(tests)}"
            elif first_failure(root, scratch, environment, [failed]):
                verdict = f"UNCLEAR  {failed} fails without the bug too"
            else:
                verdict = f"caught  by {failed}"
            faults += not verdict.startswith("caught")
            print(f"{verdict}\n        {bug.name} ({where})", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    here = Path(__file__).resolve().parents[2]
    given = bool(arguments) and Path(arguments[0]).is_dir()
    sys.exit(main(Path(arguments[0]).resolve() if given else here, arguments[given:]))
