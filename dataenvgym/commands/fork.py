"""`dataenvgym fork`: a new run from an iteration of another."""

from __future__ import annotations

import argparse
from pathlib import Path

from dataenvgym.commands.arguments import Commands, add_set
from dataenvgym.commands.resume import go_on

EXAMPLES = """\
examples:
  dataenvgym fork RUN --at 2 --set teacher.policy=ucb        the second iteration again, with another policy
  dataenvgym fork RUN --at 1 --plan edited.yaml              what if the first plan had been this one
  dataenvgym fork RUN --at 4 --set budget.iterations=6       continue after the end of a run of three iterations
"""


def add_parser(commands: Commands) -> None:
    """Add the command `fork`."""
    parser = commands.add_parser(
        "fork",
        help="start a new run from an iteration of another, with another plan or other settings",
        description="Make a new run that starts at an iteration of RUN, and run it. It shares what the earlier "
        "iterations made; RUN itself does not change. budget.*, teacher.*, approve and imports may be changed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="the run folder to start from")
    parser.add_argument(
        "--at", type=int, required=True, metavar="ITERATION", help="the first iteration to run again"
    )
    parser.add_argument("--plan", type=Path, metavar="FILE", help="the plan of that iteration (YAML or JSON)")
    add_set(parser, "change one value from that iteration on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the new run folder (default: RUN-at<ITERATION>)")
    parser.add_argument("--no-run", action="store_true", help="only make the folder")
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from dataenvgym.runs.fork import fork

    made = fork(arguments.run, arguments.at, plan=arguments.plan, overrides=arguments.set, out=arguments.out)
    if not arguments.no_run:
        return go_on(made)
    print(f"made {made}\nrun it with: dataenvgym resume {made}")  # noqa: T201
    return 0
