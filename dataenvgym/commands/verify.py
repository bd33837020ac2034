"""`dataenvgym verify`: run the checks over any file of rows, or over stored rows again with other checks."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dataenvgym.commands.arguments import Commands, add_set

if TYPE_CHECKING:
    from rich.console import Console

    from dataenvgym.agents.config import CheckConfig
    from dataenvgym.agents.verifier import VerificationResult
    from dataenvgym.envs.domains.base import Domain


def add_parser(commands: Commands) -> None:
    """Add the command `verify`."""
    parser = commands.add_parser(
        "verify",
        help="check a file of rows, or stored rows again with other checks",
        description="Run the checks over a JSONL file: rows of a run, records of its rejected.jsonl, or any "
        "objects with `question` and `answer`. Of a run, only the response cache may grow.",
        epilog="examples:\n"
        "  dataenvgym verify mine.jsonl --task arithmetic\n"
        "  dataenvgym verify RUN/iterations/001/generated-0.jsonl --run RUN --checks format,answer,solve\n"
        "  dataenvgym verify mine.jsonl --run RUN --checks student --student best\n"
        "  dataenvgym verify mine.jsonl --set teacher.checks.similarity=0.8 --out checked",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", type=Path, help="the JSONL file")
    parser.add_argument(
        "--task", help="the task whose val and test questions the rows must not contain (default: arithmetic)"
    )
    parser.add_argument("--checks", help="names, comma-separated; `dataenvgym list checks` shows them")
    parser.add_argument("--run", type=Path, help="a run whose config and response cache are used")
    parser.add_argument(
        "--student",
        metavar="WHICH",
        help="which student of the run the check `student` asks: base, last, best, or the number of an iteration "
        "(default: of a file of an iteration the one before it, else the last; without --run the base)",
    )
    add_set(parser)
    parser.add_argument("--out", type=Path, help="folder for accepted.jsonl and rejected.jsonl")
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    import asyncio

    from rich.console import Console

    from dataenvgym.commands.progress import live
    from dataenvgym.envs.errors import ConfigError
    from dataenvgym.graphs.config import load_config
    from dataenvgym.graphs.resources import stream_reporter, task_of
    from dataenvgym.runs.verification import find_student, verify_file, write_verified

    changes = [*arguments.set]
    if arguments.task:
        changes.append(f"task.name={arguments.task}")
    if arguments.checks:
        changes.append(f"teacher.checks.names=[{arguments.checks}]")
    config = load_config(arguments.run / "config.yaml" if arguments.run else None, changes)
    asked = None
    if "student" in config.teacher.checks.names:
        asked = asyncio.run(find_student(arguments.rows, config, arguments.run, arguments.student))
    elif arguments.student:
        raise ConfigError("--student: the check 'student' is not among the checks; name it with --checks")
    console = Console()
    with live(console) as show:
        work = verify_file(
            arguments.rows, config, arguments.run, stream_reporter(show), asked.key if asked else None
        )
        result = asyncio.run(work)
    if arguments.out:
        write_verified(result, arguments.out)
    show_verified(result, config.teacher.checks, task_of(config).domain, console)
    if asked:
        console.print(f"check student: asked {asked.name}", highlight=False)
    if arguments.out:
        console.print(f"written to {arguments.out}", highlight=False, markup=False, soft_wrap=True)
    return 0


def show_verified(result: VerificationResult, config: CheckConfig, domain: Domain, console: Console) -> None:
    """Print what each check rejected, with an example of its reasons."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from dataenvgym.agents.checks import CHECKS, COSTS, configured
    from dataenvgym.envs.stats import diversity

    table = Table(box=box.SIMPLE)
    table.add_column("check")
    table.add_column("cost")
    table.add_column("rejected", justify="right")
    table.add_column("e.g.")
    rejected = Counter(record.verdicts[-1].check for record in result.rejected)
    reasons = {record.verdicts[-1].check: record.verdicts[-1].reason for record in reversed(result.rejected)}
    for name in ["schema", *(c.name for cost in COSTS for c in configured(config, domain, cost))]:
        cost = CHECKS[name].cost if name in CHECKS else "free"
        table.add_row(name, cost, str(rejected[name]), Text(reasons.get(name, "")))
    console.print(table)
    varied = diversity([row.question for row in result.accepted])
    kept = f"{len(result.accepted)} accepted, {len(result.rejected)} rejected"
    console.print(kept if varied is None else f"{kept}, diversity {varied:.2f}", highlight=False)
