"""`dataenvgym list`: tables of what a config can name. Heavy imports are local, so that --help stays fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from dataenvgym.commands.arguments import Commands
from dataenvgym.envs.errors import ConfigError

Listing = tuple[list[str], list[list[str]]]


def _tasks() -> Listing:
    from dataenvgym.envs.tasks import TASKS

    return ["task", "domain", "what it is", "gold skills", "needs"], [
        [
            t.name,
            t.domain,
            t.summary,
            "yes" if t.gold_skills else "no",
            "nothing" if t.embedded else "hub or task.path",
        ]
        for t in TASKS.values()
    ]


def _students() -> Listing:
    from dataenvgym.envs.students import STUDENTS

    rows = [[s.name, s.summary] for s in STUDENTS.values()]
    return ["student", "what it is"], [
        *rows,
        ["org/name or a folder", "any causal language model of transformers"],
    ]


def _teachers() -> Listing:
    from dataenvgym.agents.llm.chat_models import PROVIDERS

    rows = [["scripted", "offline test instrument: procedural, no key, no network"]]
    rows += [
        [f"{name}:MODEL", "by LangChain's init_chat_model"] for name in sorted(PROVIDERS) if name != "scripted"
    ]
    return ["teacher.llm.model", "what it is"], rows


def _structures() -> Listing:
    from dataenvgym.agents.policies import DEFAULTS

    shown = {
        "open_ended": "evaluated val predictions; data requests written freely",
        "skill_list": "the same grouped by skill; requests per skill",
        "skill_tree": "a forest of skills and subskills; explore or exploit",
    }
    return ["structure", "what the teacher sees and does", "default policy"], [
        [name, text, DEFAULTS[name]] for name, text in shown.items()
    ]


def _policies() -> Listing:
    from dataenvgym.agents.policies import POLICIES

    return ["policy", "structures", "what it does"], [
        [p.name, ", ".join(p.structures), p.summary] for p in POLICIES.values()
    ]


def _domains() -> Listing:
    from dataenvgym.envs.domains.base import DOMAINS

    return ["domain", "what it is"], [[domain.name, domain.summary] for domain in DOMAINS.values()]


def _scorers() -> Listing:
    from dataenvgym.envs.scorers import SCORERS

    return ["task.scorer", "what is right"], [[scorer.name, scorer.summary] for scorer in SCORERS.values()]


def _checks() -> Listing:
    from dataenvgym.agents.checks import CHECKS

    return ["check", "cost", "what it does"], [[c.name, c.cost, c.summary] for c in CHECKS.values()]


def _config(task: str | None = None) -> Listing:
    from dataenvgym.envs.tasks import TASKS
    from dataenvgym.graphs.config import describe

    rows = describe() if task is None else describe(TASKS.find(task).options, "task.options.")
    return ["key", "default", "what it is"], [list(row) for row in rows]


LISTS: dict[str, Callable[..., Listing]] = {
    "tasks": _tasks,
    "domains": _domains,
    "scorers": _scorers,
    "students": _students,
    "teachers": _teachers,
    "structures": _structures,
    "policies": _policies,
    "checks": _checks,
    "config": _config,
}


def add_parser(commands: Commands) -> None:
    """Add the command `list`."""
    parser = commands.add_parser(
        "list", help="list tasks, domains, students, teachers, structures, policies, checks or config keys"
    )
    parser.add_argument("what", choices=sorted(LISTS), metavar="|".join(sorted(LISTS)))
    parser.add_argument("--task", metavar="NAME", help="with config: the options of this task alone")
    parser.set_defaults(command=_command)


def _command(arguments: argparse.Namespace) -> int:
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
