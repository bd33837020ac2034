"""`dataenvgym estimate`: what an episode asks of the teacher's model, before anything is sent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataenvgym.commands.arguments import Commands, add_config, add_prompts, add_teacher, overrides

if TYPE_CHECKING:
    from rich.console import Console

    from dataenvgym.graphs.config import EpisodeConfig
    from dataenvgym.runs.estimate import NodeEstimate


def add_parser(commands: Commands) -> None:
    """Add the command `estimate`."""
    parser = commands.add_parser(
        "estimate",
        help="estimate what a run asks of the teacher's model",
        description="Show calls, tokens and dollars per node before anything is sent. The teacher's first "
        "iteration is rehearsed on this machine with the real prompts and the scripted model.",
    )
    add_config(parser)
    add_prompts(parser)
    add_teacher(parser)
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.graphs.config import load_config
    from dataenvgym.runs.estimate import estimate

    config = load_config(arguments.config, overrides(arguments))
    console = Console()
    with console.status("rehearsing the first iteration"):
        estimates = estimate(config)
    show_estimate(estimates, config, console)
    return 0


def show_estimate(estimates: Sequence[NodeEstimate], config: EpisodeConfig, console: Console) -> None:
    """Print what an episode asks of the teacher's model."""
    from rich import box
    from rich.table import Table

    from dataenvgym.runs.estimate import NodeEstimate

    table = Table(title=f"{config.teacher.model_names()}, {config.budget.iterations} iterations", box=box.SIMPLE)
    several = len({line.model for line in estimates}) > 1
    for column in ("node", *(["model"] if several else []), "calls", "prompt tokens", "completion tokens", "cost"):
        table.add_column(column, justify="left" if column in ("node", "model") else "right")
    for line in estimates:
        table.add_row(*_estimate_cells(line, several))
    costs = [line.cost for line in estimates if line.cost is not None]
    total = NodeEstimate(
        "all",
        "",
        sum(line.calls for line in estimates),
        sum(line.prompt_tokens for line in estimates),
        sum(line.completion_tokens for line in estimates),
        sum(costs) if len(costs) == len(estimates) else None,
    )
    table.add_section()
    table.add_row(*_estimate_cells(total, several), style="bold")
    console.print(table)
    console.print("Without refill rounds and repeats; 4 characters count as a token.")
    if total.cost is None:
        console.print("Unknown price: --set teacher.llm.price=[PROMPT,COMPLETION] (dollars per million)")


def _estimate_cells(line: NodeEstimate, several: bool) -> list[str]:
    spent = "unknown" if line.cost is None else f"${line.cost:.4f}"
    model = [line.model] if several else []
    return [line.node, *model, str(line.calls), f"{line.prompt_tokens:,}", f"{line.completion_tokens:,}", spent]
