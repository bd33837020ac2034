"""The command line. Heavy imports stand inside the commands, so that --help is instant."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dataenvgym.commands import approve, check, fork, graph, prompts
from dataenvgym.commands.listings import LISTS
from dataenvgym.envs.errors import ConfigError, DataEnvGymError, RunFolderError
from dataenvgym.machine import doctor
from dataenvgym.sweeps import sweep

EXAMPLES = """\
examples:
  dataenvgym run examples/demo.yaml                 the demo: arithmetic, skill tree, offline teacher
  dataenvgym run my.yaml --set budget.iterations=5  a config file, one value changed
  dataenvgym run --set structure=skill_list --set state=false --set student.name=tiny
  dataenvgym run --set teacher.llm.model=openai:gpt-4o-mini     (needs OPENAI_API_KEY)
  dataenvgym run my.yaml --approve                  ask before each generation
  dataenvgym estimate my.yaml                       calls, tokens and cost, before anything is sent
  dataenvgym resume runs/20260101-120000-arithmetic-skill_tree-s0
  dataenvgym fork RUN --at 2 --set teacher.policy=ucb     a new run from an iteration of another
  dataenvgym show RUN                               the tables of a run again
  dataenvgym verify rows.jsonl --task arithmetic    the checks over any file of rows
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit status (0 well, 1 a user's mistake, 130 interrupted)."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(arguments)
    except DataEnvGymError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dataenvgym",
        description="Teachers that generate training data for a student, in a closed loop.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run an episode",
        description="Run an episode into a new run folder: teach, train and evaluate until a budget, the target "
        "or a plateau ends it. `dataenvgym list config` shows every key.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("config", nargs="?", type=Path, help="YAML file; without one, the defaults")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value, e.g. budget.rows=300",
    )
    run.add_argument("--prompts", type=Path, metavar="DIR", help="folder whose prompts overlay the packaged ones")
    run.add_argument("--out", type=Path, help="the run folder (default: runs/<time>-<task>-<structure>-s<seed>)")
    run.add_argument(
        "--approve", action="store_true", help="ask before each generation (the same as --set approve=true)"
    )
    run.set_defaults(command=_run)

    resume = commands.add_parser(
        "resume",
        help="go on with an interrupted run, or past its end with a larger budget",
        description="Go on from the last finished node. With --set, a run that has ended goes on until its new "
        "budget ends it.",
    )
    resume.add_argument("run", type=Path, help="the run folder")
    resume.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a budget, e.g. budget.max_calls=500",
    )
    approve.add_plan(resume)
    resume.set_defaults(command=_resume)

    fork.add_parser(commands, _go_on)

    check.add_parser(commands)

    estimate = commands.add_parser(
        "estimate",
        help="what a run would ask of the teacher's model",
        description="Calls, tokens and dollars per node, before anything is sent: the teacher's first iteration "
        "is rehearsed here with the real prompts and the scripted model.",
    )
    estimate.add_argument("config", nargs="?", type=Path, help="YAML file; without one, the defaults")
    estimate.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one value")
    estimate.add_argument(
        "--prompts", type=Path, metavar="DIR", help="folder whose prompts overlay the packaged ones"
    )
    estimate.set_defaults(command=_estimate)

    verify = commands.add_parser(
        "verify",
        help="check a file of rows, or stored rows again with other checks",
        description="Run the checks over a JSONL file: rows of a run, records of its rejected.jsonl, or any "
        "objects with `question` and `answer`. Of a run only its response cache may grow.",
        epilog="examples:\n"
        "  dataenvgym verify mine.jsonl --task arithmetic\n"
        "  dataenvgym verify RUN/iterations/001/generated-0.jsonl --run RUN --checks format,answer,solve\n"
        "  dataenvgym verify mine.jsonl --set teacher.checks.similarity=0.8 --out checked",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("rows", type=Path, help="the JSONL file")
    verify.add_argument("--task", help="the task whose val and test the rows must not hold (default: arithmetic)")
    verify.add_argument("--checks", help="names, comma-separated; `dataenvgym list checks` shows them")
    verify.add_argument("--run", type=Path, help="a run: its config, and its response cache for what was asked")
    verify.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one value")
    verify.add_argument("--out", type=Path, help="folder for accepted.jsonl and rejected.jsonl")
    verify.set_defaults(command=_verify)

    show = commands.add_parser("show", help="print the tables of a run")
    show.add_argument("run", type=Path, help="the run folder")
    show.set_defaults(command=_show)

    listing = commands.add_parser(
        "list", help="list tasks, domains, students, teachers, structures, policies, checks or config keys"
    )
    listing.add_argument("what", choices=sorted(LISTS), metavar="|".join(sorted(LISTS)))
    listing.add_argument("--task", metavar="NAME", help="with config: the options of this task alone")
    listing.set_defaults(command=_list)

    graph.add_parser(commands)

    prompts.add_parser(commands)

    sweep.add_parser(commands)

    doctor.add_parser(commands)
    return parser


def _version() -> str:
    from dataenvgym import __version__

    return f"dataenvgym {__version__}"


def _run(arguments: argparse.Namespace) -> int:
    from dataenvgym.graphs.config import load_config
    from dataenvgym.runs.folder import create

    approve = ["approve=true"] if arguments.approve else []
    config = load_config(arguments.config, [*arguments.set, *approve, *_prompts(arguments)])
    return _go_on(create(config, arguments.out))


def _prompts(arguments: argparse.Namespace) -> list[str]:
    if arguments.prompts is None:
        return []
    return [f"teacher.prompts={json.dumps(str(arguments.prompts.absolute()))}"]


def _estimate(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.commands.estimate import estimate, show_estimate
    from dataenvgym.graphs.config import load_config

    config = load_config(arguments.config, [*arguments.set, *_prompts(arguments)])
    console = Console()
    with console.status("rehearsing the first iteration"):
        found = estimate(config)
    show_estimate(found, config, console)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    import asyncio

    from rich.console import Console

    from dataenvgym.commands.progress import live
    from dataenvgym.commands.verify import show_verified, verify_file, write_verified
    from dataenvgym.graphs.config import load_config
    from dataenvgym.graphs.resources import stream_reporter, task_of

    changes = [*arguments.set]
    if arguments.task:
        changes.append(f"task.name={arguments.task}")
    if arguments.checks:
        changes.append(f"teacher.checks.names=[{arguments.checks}]")
    config = load_config(arguments.run / "config.yaml" if arguments.run else None, changes)
    console = Console()
    with live(console) as show:
        found = asyncio.run(verify_file(arguments.rows, config, arguments.run, stream_reporter(show)))
    if arguments.out:
        write_verified(found, arguments.out)
    show_verified(found, config.teacher.checks, task_of(config).domain, console)
    if arguments.out:
        console.print(f"written to {arguments.out}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    from dataenvgym.runs.extend import extend

    if arguments.set:
        extend(arguments.run, arguments.set)
    return _go_on(arguments.run, arguments.plan)


def _go_on(run_dir: Path, answer: str | None = None) -> int:
    from rich.console import Console

    from dataenvgym.reports import report
    from dataenvgym.runs.folder import open_run

    config = open_run(run_dir)
    console = Console()
    state = "" if config.state else " without state"
    console.print(
        f"[bold]{config.task.name} / {config.structure}{state}[/bold], student {config.student.name}, teacher "
        f"{config.teacher.llm.model} with policy {config.policy_name()}, seed {config.seed}"
    )
    console.print(f"run folder: {run_dir}", highlight=False, markup=False, soft_wrap=True)
    outcome = approve.resume_asking(run_dir, console, answer)
    if outcome.summary is None:
        console.print(f"continue with: dataenvgym resume {run_dir}", highlight=False, markup=False, soft_wrap=True)
        return 130
    report.show(outcome.summary, run_dir, console)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.reports import report
    from dataenvgym.runs.folder import open_run, read_summary

    open_run(arguments.run)
    summary = read_summary(arguments.run)
    if summary is None:
        raise RunFolderError(f"{arguments.run} has not finished. Go on with it: dataenvgym resume {arguments.run}")
    report.show(summary, arguments.run, Console())
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    if arguments.task is not None and arguments.what != "config":
        raise ConfigError("--task goes with `list config`, e.g. dataenvgym list config --task livecodebench")
    header, rows = LISTS["config"](arguments.task) if arguments.task else LISTS[arguments.what]()
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
