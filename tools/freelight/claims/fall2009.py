"""The end of section 6: the errors of a CNN with six convolutions on the Fall 2009 release, half of it for testing."""

from pathlib import Path

from freelight.claims.plan import Expected, Plan, evaluate, make_dataset, train
from freelight.claims.planning import plan_command
from freelight.claims.table2 import SIX_CONV, cnn_2012

IMAGES, EPOCHS = 8_900_000, 7


def planner(data: Path, out: Path) -> Plan:
    """List the commands for the paper's Fall 2009 errors and their cost, or run them.

    10,184 classes, half of the images for training and half for testing. --data holds fall2009/ (class folders, or a
    tar of class tars) and ilsvrc2012/ with the official archives. The network starts from one trained on ILSVRC-2012;
    table2 with the same --out uses the same one. Nothing runs without --run. The table shows what has been measured
    under --out, also by commands that you ran yourself.
    """
    dataset, run, figures = out / "fall2009", out / "cnn2009", out / "cnn2009.json"
    return Plan(
        claim="fall2009",
        sources={
            data / "ilsvrc2012": "the official archives of ILSVRC-2012",
            data / "fall2009": "the Fall 2009 release, as class folders or a tar of class tars",
        },
        steps=(
            *cnn_2012(data, out, 0),
            *make_dataset(data / "fall2009", dataset, IMAGES, "--val-fraction", "0.5"),
            train(
                dataset,
                run,
                EPOCHS * IMAGES / 2,
                *("--init-from", str(out / "cnn2012-0" / "last.pt"), *SIX_CONV),
                *("--set", "layer_rates=conv:0.1,conv6:1", "--set", f"epochs={EPOCHS}"),
            ),
            evaluate(dataset, figures, IMAGES / 2, "val", 10, "--checkpoint", str(run / "last.pt")),
        ),
        table=(Expected(what="CNN with six convolutions, half split", paper="67.4 / 40.9", figures=figures),),
        notes=(
            "rates and epochs (6.7) are the 2012 code's, which started from its ILSVRC-2012 net; it drew new "
            "weights for fc6 and fc7, which are copied here if they fit",
            "the split is drawn by our seed: the paper's is not published",
        ),
    )


command = plan_command("fall2009", planner)
