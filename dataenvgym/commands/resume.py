"""`dataenvgym resume`: continue a run; also how `run` and `fork` show theirs."""

from __future__ import annotations

import argparse
from pathlib import Path

from dataenvgym.commands import approve
from dataenvgym.commands.arguments import Commands, add_changed_teacher, add_run_folder, add_set


def add_parser(commands: Commands) -> None:
    """Add the command `resume`."""
    parser = commands.add_parser(
        "resume",
        help="continue an interrupted run, or a finished one with a larger budget",
        description="Continue from the last finished node. With --set, a finished run continues until its new "
        "budget ends it.",
    )
    add_run_folder(parser)
    add_set(parser, "change a budget, e.g. budget.max_calls=500")
    approve.add_plan(parser)
    add_changed_teacher(parser)
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from dataenvgym.runs.extend import extended
    from dataenvgym.runs.folder import check_teacher, open_run, read_manifest

    if not arguments.set:
        return go_on(arguments.run, arguments.plan, arguments.changed_teacher)
    if not read_manifest(arguments.run).get("own_teacher"):  # refuse before the new budget can be seen by a fork
        check_teacher(arguments.run, open_run(arguments.run), changed=arguments.changed_teacher)
    with extended(arguments.run, arguments.set):
        return go_on(arguments.run, arguments.plan, arguments.changed_teacher)


def go_on(run_dir: Path, answer: str | None = None, changed_teacher: bool = False) -> int:
    """Run a run folder to its end, or to a plan that waits for a person; print its tables.

    Args:
        answer: the answer to the plan that waits now: `yes` or the path of an edited plan.
        changed_teacher: go on although the files of the run's own teacher have changed.

    Returns:
        The exit status: 0, or 130 when the run has not finished.
    """
    from rich.console import Console

    from dataenvgym.reports import report
    from dataenvgym.runs.folder import open_run

    config = open_run(run_dir)
    console = Console()
    state = "" if config.state else " without state"
    console.print(
        f"[bold]{config.task.name} / {config.structure}{state}[/bold], student {config.student.name}, teacher "
        f"{config.teacher.model_names()} with policy {config.policy_name()}, seed {config.seed}"
    )
    console.print(f"run folder: {run_dir}", highlight=False, markup=False, soft_wrap=True)
    outcome = approve.resume_asking(run_dir, console, answer, changed_teacher)
    if outcome.summary is None:
        console.print(f"continue with: dataenvgym resume {run_dir}", highlight=False, markup=False, soft_wrap=True)
        return 130
    report.show(outcome.summary, run_dir, console)
    return 0
