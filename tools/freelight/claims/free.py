"""Section 4.1: augmentation is free, because the CPU computes it while the GPU trains. Runs `benchmark free`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from freelight.claims.charts import points_chart
from freelight.claims.command import claim
from freelight.claims.data import dataset_of, describe
from freelight.claims.finding import Finding, Row
from freelight.claims.session import Session, failure, program
from freelight.shards import FreelightError


@claim(
    "free",
    examples=(
        "freelight reproduce free --data photos --out free",
        "freelight reproduce free --data dataset --out free --batch-size 32 --rounds 3",
    ),
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Rounds of the benchmark.")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1), help="Images per step.")
def command(session: Session, data: Path, rounds: int, batch_size: int) -> Finding:
    """Measure what augmentation costs in training time.

    Runs `benchmark free` and quotes its figures. --data is a folder of images. On a machine without a GPU the same CPU
    augments and trains, so augmentation cannot be free there; the result is what it costs.
    """
    session.plan(["make_shards", "compute_pca"] if not (data / "dataset.json").is_file() else [])
    session.plan(["benchmark"])
    dataset = dataset_of(session, data, size=256)
    result = session.out / "benchmark-free.json"
    words = ["free", "--shards", str(dataset.folder), "--rounds", str(rounds), "--batch-size", str(batch_size)]
    words += ["--record", str(result)]
    typed = ["tools/benchmark", *words]

    def work() -> dict[str, Any]:
        log = session.out / "benchmark.log"
        result.unlink(missing_ok=True)
        code = session.call(program(typed), log)
        # 1: a floor was missed, which is quoted; or the benchmark failed, and there is no record.
        if code not in (0, 1) or not result.exists():
            raise failure(typed, code, log)
        return {"benchmark": json.loads(result.read_text("utf-8"))}

    record = session.part("benchmark", typed, work, dataset.folder)
    try:
        return finding(record["benchmark"], describe(dataset))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise FreelightError(
            f"{session.out / 'parts' / 'benchmark.json'} does not hold what benchmark free records ({error}); "
            "delete it, and the part runs again"
        ) from None


def finding(report: dict[str, Any], data: str) -> Finding:
    """Return the figures of the benchmark's record as a finding."""
    machine, floors, (wait,) = report["machine"], report["floors"], report["figures"]
    rates: dict[str, Sequence[float]] = {
        one["name"]: [lap["items"] / lap["seconds"] for lap in one["laps"]] for one in report["contenders"]
    }
    missed = [floor["name"] for floor in floors if not floor["met"]]
    return Finding(
        claim="free",
        rows=(
            *(
                Row(
                    what=floor["name"],
                    paper='1 ("free")',
                    ours=f"{floor['value']:.3f}",
                    difference=f"{100 * (floor['value'] - 1):+.1f} %",
                )
                for floor in floors
            ),
            Row(what="share of the time spent waiting for data", paper="0 %", ours=f"{wait['value']:.1f} %"),
        ),
        conditions=(
            data,
            f"benchmark free: {report['settings']}, full net, two threads, medians of interleaved rounds",
            f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']} at the start",
        ),
        figures={"floors": floors, "wait_percent": wait["value"], "images_per_second": rates},
        picture=points_chart("Training with and without augmentation", rates, y="images/s"),
        verdict=f"not free here: {'; '.join(missed)} above 1.03" if missed else "free: at most 3 % slower than either",
    )
