"""Make a plan a command that prints the plan, or runs it with --run."""

from collections.abc import Callable
from pathlib import Path

import click

from freelight.claims.command import claim
from freelight.claims.finding import Finding
from freelight.claims.plan import Plan
from freelight.claims.session import Session

Planner = Callable[[Path, Path], Plan]


def plan_command(name: str, planner: Planner) -> click.Command:
    """Return the command of a plan. planner: makes the plan from the folders of archives and of results."""

    def command(session: Session, data: Path, images_per_second: float, dry_run: bool) -> Finding:
        plan = planner(data, session.out)
        if not dry_run:
            plan.run(session)
        return plan.finding(images_per_second)

    command.__doc__ = planner.__doc__
    options = (
        click.option(
            "--images-per-second",
            default=240.0,
            show_default=True,
            type=click.FloatRange(min=0, min_open=True),
            help="Training speed of one network, as `train` prints it. The default is the paper's.",
        ),
        click.option("--dry-run/--run", default=True, show_default=True, help="Print the commands only, or run them."),
    )
    for option in reversed(options):
        command = option(command)
    line = f"freelight reproduce {name} --data archives --out {name}"
    return claim(name, examples=(line, f"{line} --images-per-second 3000 --run"))(command)
