"""`dataenvgym fork`: a new run from an iteration of another."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  dataenvgym fork RUN --at 2 --set teacher.policy=ucb        the second iteration again, with another policy
  dataenvgym fork RUN --at 1 --plan edited.yaml              what if the first plan had been this one
  dataenvgym fork RUN --at 4 --set budget.iterations=6       on from the end of a run of three iterations
"""


def add_parser(commands: Any, go_on: Callable[[Path], int]) -> None:
    """Add the command `fork`; `go_on` runs what it has made and gives the exit status."""
    parser = commands.add_parser(
        "fork",
        help="a new run from an iteration of another, with another plan or settings",
        description="Make a new run that starts at an iteration of RUN, and run it. What the iterations before "
        "have made is shared, RUN itself stays as it is. budget.*, teacher.*, approve and imports may be changed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="the run folder to start from")
    parser.add_argument("--at", type=int, required=True, metavar="ITERATION", help="the first iteration done anew")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="that iteration's plan (YAML or JSON)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value from there on"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the new run folder (default: RUN-at<ITERATION>)")
    parser.add_argument("--no-run", action="store_true", help="only make the folder")

    def command(arguments: argparse.Namespace) -> int:
        from dataenvgym.runs.fork import fork

        made = fork(arguments.run, arguments.at, plan=arguments.plan, overrides=arguments.set, out=arguments.out)
        if not arguments.no_run:
            return go_on(made)
        print(f"made {made}\nrun it with: dataenvgym resume {made}")  # noqa: T201
        return 0

    parser.set_defaults(command=command)
