"""Table 1: the errors of one CNN on ILSVRC-2010's test set."""

from pathlib import Path

from freelight.claims.plan import Expected, Plan, evaluate, make_dataset, train
from freelight.claims.planning import plan_command

TRAIN, VAL, TEST, EPOCHS = 1_261_406, 50_000, 150_000, 90


def planner(data: Path, out: Path) -> Plan:
    """List the commands for the paper's Table 1 and their cost, or run them.

    One CNN on ILSVRC-2010. --data holds ilsvrc2010/ with the official archives. Nothing runs without --run. The table
    shows what has been measured under --out, also by commands that you ran yourself.
    """
    dataset, run = out / "ilsvrc2010", out / "cnn2010"
    ten, one = out / "cnn2010-ten-views.json", out / "cnn2010-centre-view.json"
    checkpoint = ("--checkpoint", str(run / "last.pt"))
    return Plan(
        claim="table1",
        sources={data / "ilsvrc2010": "the official archives of ILSVRC-2010"},
        steps=(
            *make_dataset(data / "ilsvrc2010", dataset, TRAIN + VAL + TEST),
            train(dataset, run, EPOCHS * TRAIN),
            evaluate(dataset, ten, TEST, "test", 10, *checkpoint),
            evaluate(dataset, one, TEST, "test", 1, *checkpoint),
        ),
        table=(
            Expected(what="CNN, 2010 test, ten views", paper="37.5 / 17.0", figures=ten),
            Expected(what="CNN, 2010 test, centre view", paper="39.0 / 18.3", figures=one),
        ),
        notes=("the paper's other rows, sparse coding and SIFT + FVs, are methods of other authors",),
    )


command = plan_command("table1", planner)
