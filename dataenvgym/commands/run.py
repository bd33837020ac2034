"""`dataenvgym run`: run an episode into a new run folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from dataenvgym.commands.arguments import Commands, add_config, add_prompts, add_teacher, overrides
from dataenvgym.commands.resume import go_on

EXAMPLES = """\
examples:
  dataenvgym run examples/demo.yaml                 the demo: arithmetic, skill tree, offline teacher
  dataenvgym run my.yaml --set budget.iterations=5  a config file, one value changed
  dataenvgym run --set structure=skill_list --set state=false --set student.name=tiny
  dataenvgym run --set teacher.llm.model=openai:gpt-4o-mini     (needs OPENAI_API_KEY)
  dataenvgym run my.yaml --teacher my_teacher.py:teacher    a teacher graph of your own
  dataenvgym run my.yaml --approve                  ask before each generation
  dataenvgym estimate my.yaml                       calls, tokens and cost, before anything is sent
  dataenvgym resume runs/20260101-120000-arithmetic-skill_tree-s0
  dataenvgym fork RUN --at 2 --set teacher.policy=ucb     a new run from an iteration of another
  dataenvgym show RUN                               the tables of a run again
  dataenvgym verify rows.jsonl --task arithmetic    the checks over any file of rows
"""


def add_parser(commands: Commands) -> None:
    """Add the command `run`."""
    parser = commands.add_parser(
        "run",
        help="run an episode",
        description="Run an episode into a new run folder: teach, train and evaluate until a budget, the target "
        "or a plateau ends it. `dataenvgym list config` shows every key.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    add_prompts(parser)
    add_teacher(parser)
    parser.add_argument(
        "--out", type=Path, help="the run folder (default: runs/<time>-<task>-<structure>-s<seed>)"
    )
    parser.add_argument(
        "--approve", action="store_true", help="ask before each generation (the same as --set approve=true)"
    )
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from dataenvgym.graphs.config import load_config
    from dataenvgym.runs.folder import create

    approve = ["approve=true"] if arguments.approve else []
    config = load_config(arguments.config, [*overrides(arguments), *approve])
    return go_on(create(config, arguments.out))
