"""Table 2: the errors of one CNN and of averages of several on ILSVRC-2012's validation set."""

from pathlib import Path

from freelight.claims.plan import Expected, Plan, Step, evaluate, make_dataset, train
from freelight.claims.planning import plan_command

TRAIN, VAL, TEST, EPOCHS = 1_281_167, 50_000, 100_000, 90
FALL_2011, FALL_2011_VAL = 15_000_000, 0.01
CNNS, PRETRAINED = 5, 2
SIX_CONV = ("--set", "sixth_conv=true")


def planner(data: Path, out: Path) -> Plan:
    """List the commands for the paper's Table 2 and their cost, or run them.

    Five CNNs and two pre-trained ones on ILSVRC-2012, and their averages. --data holds ilsvrc2012/ and fall2011/ with
    the official archives. Nothing runs without --run. The table shows what has been measured under --out, also by
    commands that you ran yourself.
    """
    ilsvrc, fall = out / "ilsvrc2012", out / "fall2011"
    plain = [out / f"cnn2012-{seed}" for seed in range(CNNS)]
    tuned = [out / f"finetuned-{seed}" for seed in range(PRETRAINED)]
    steps: list[Step] = [*cnn_2012(data, out, 0)]
    for seed in range(1, CNNS):
        steps.append(train(ilsvrc, plain[seed], EPOCHS * TRAIN, seed=seed))
    steps += make_dataset(data / "fall2011", fall, FALL_2011, "--val-fraction", str(FALL_2011_VAL))
    for seed in range(PRETRAINED):
        pretrained = out / f"fall2011-{seed}"
        steps += [
            train(
                fall,
                pretrained,
                8 * (1 - FALL_2011_VAL) * FALL_2011,
                *("--init-from", str(plain[seed] / "last.pt"), *SIX_CONV),
                *("--set", "layer_rates=conv:0.1,conv6:1", "--set", "epochs=8", "--set", "schedule=steps"),
                *("--set", "drop_epochs=6", "--set", "bias_drop_epochs=6"),
                seed=seed,
            ),
            train(
                ilsvrc,
                tuned[seed],
                54 * TRAIN,
                *("--init-from", str(pretrained / "last.pt"), *SIX_CONV),
                *("--set", "learning_rate=0.001", "--set", "layer_rates=conv1:0.1,fc8:10", "--set", "epochs=54"),
                seed=seed,
            ),
        ]
    kept = {run: out / f"{run.name}.npz" for run in (*plain, *tuned)}
    for run, predictions in kept.items():
        more = ("--checkpoint", str(run / "last.pt"), "--predictions", str(predictions))
        steps.append(evaluate(ilsvrc, out / f"{run.name}.json", VAL, "val", 10, *more))
    averages = {"five": plain, "seven": [*plain, *tuned]}
    for name, runs in averages.items():
        earlier = [word for run in runs for word in ("--from", str(kept[run]))]
        steps.append(evaluate(ilsvrc, out / f"{name}-cnns.json", 0, "val", 10, *earlier))
    return Plan(
        claim="table2",
        sources={
            data / "ilsvrc2012": "the official archives of ILSVRC-2012",
            data / "fall2011": "fall11_whole.tar",
        },
        steps=tuple(steps),
        table=(
            Expected(what="1 CNN, 2012 val", paper="40.7 / 18.2", figures=out / f"{plain[0].name}.json"),
            Expected(what="5 CNNs, 2012 val", paper="38.1 / 16.4", figures=out / "five-cnns.json"),
            Expected(what="1 CNN*, 2012 val", paper="39.0 / 16.6", figures=out / f"{tuned[0].name}.json"),
            Expected(what="7 CNNs*, 2012 val", paper="36.7 / 15.4", figures=out / "seven-cnns.json"),
        ),
        notes=(
            "* a sixth convolution, pre-trained on Fall 2011, fine-tuned; rates and epochs are those of the 2012 code, "
            "which also used Fall 2009, and had one more linear layer of 2,048 below the 21,843 classes",
            "the test column needs the challenge's server: its labels are not public",
            "the paper's other row, SIFT + FVs, is a method of other authors",
        ),
    )


def cnn_2012(data: Path, out: Path, seed: int) -> tuple[Step, ...]:
    """Return the steps that make ILSVRC-2012's dataset and train one network on it."""
    ilsvrc = out / "ilsvrc2012"
    return (
        *make_dataset(data / "ilsvrc2012", ilsvrc, TRAIN + VAL + TEST),
        train(ilsvrc, out / f"cnn2012-{seed}", EPOCHS * TRAIN, seed=seed),
    )


command = plan_command("table2", planner)
