"""`dataenvgym task`: look at your own data before a run, and write the config for them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.commands.arguments import Commands, add_set

if TYPE_CHECKING:
    from rich.console import Console

    from dataenvgym.envs.domains.text.inspection import Trial
    from dataenvgym.envs.domains.text.own_data import OwnData
    from dataenvgym.graphs.config import EpisodeConfig

SHOWN = 3
"""Items, and faults of each kind, that are shown."""
CONFIGS = (".yaml", ".yml")
ROWS_PER_ITERATION, ITERATIONS = 72, 3


def add_parser(commands: Commands) -> None:
    """Add the command `task`."""
    task = commands.add_parser("task", help="look at your own data, or write the config for them")
    actions = task.add_subparsers(required=True, metavar="check|init")
    check = actions.add_parser(
        "check",
        help="show how your own data are asked and judged, and what is suspicious in them",
        description="Load your own data, show three items as the student will be asked, score the right answers "
        "and deliberately wrong ones, name what is suspicious by its place, and estimate what a run asks of the "
        "teacher's model. Nothing is sent and no student is loaded. The exit status is 1 if a right answer counts "
        "as wrong.",
        epilog="examples:\n"
        "  dataenvgym task check mine.csv\n"
        "  dataenvgym task check mine.jsonl --set task.options.scorer=number --set task.options.tolerance=0.01\n"
        "  dataenvgym task check mine.yaml      a config, e.g. one that `dataenvgym task init` wrote",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.set_defaults(command=_check)
    init = actions.add_parser(
        "init",
        help="write the config of a run on your own data",
        description="Write a config with the columns and the scorer that were found in your own data.",
    )
    init.add_argument("--out", type=Path, metavar="CONFIG", help="the new file (default: FILE with .yaml, here)")
    init.set_defaults(command=_init)
    for action in (check, init):
        action.add_argument("file", metavar="FILE", help="a data file, a folder of them, or hub:org/name[:config]")
        add_set(action, "change one value, e.g. task.options.answer=label")


def _config(arguments: argparse.Namespace) -> EpisodeConfig:
    from dataenvgym.envs.errors import ConfigError
    from dataenvgym.graphs.config import load_config

    if Path(arguments.file).suffix in CONFIGS:
        config = load_config(Path(arguments.file), arguments.set)
    else:
        own = ["task.name=custom", f"task.path={json.dumps(arguments.file)}"]
        config = load_config(None, [*own, *arguments.set])
    if config.task.name != "custom":
        raise ConfigError(f"task.name: {config.task.name!r} has no own data. `dataenvgym task` is for 'custom'.")
    return config


def _check(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from dataenvgym.commands.estimate import show_estimate
    from dataenvgym.envs.domains.text import inspection, own_data
    from dataenvgym.envs.tasks import load_task
    from dataenvgym.runs.estimate import estimate

    config, console = _config(arguments), Console()
    data = own_data.load(config.task)
    domain = load_task(config.task).domain
    _show_data(data, console)
    for number, instance in enumerate([*data.task.val, *data.task.train][:SHOWN], 1):
        example = domain.example(instance)
        _say(console, f"\nitem {number}, {data.places[instance.id]}, as the student is asked:")
        _say(console, _indented(example.prompt))
        _say(console, "and what it learns to write:")
        _say(console, _indented(example.completion))
    console.print()
    right = inspection.try_right_answers(data, domain)
    _say(console, f"right answers: {right.right} of {right.total} count as right")
    _show_faults(right, console)
    wrong = inspection.try_wrong_answers(data, domain)
    _say(console, f"wrong answers: {wrong.total - wrong.right} of {wrong.total} count as wrong")
    _show_faults(wrong, console)
    student = config.student_config()
    found = inspection.suspicions(
        data,
        domain,
        row_tokens=student.train.max_length or 0,
        answer_tokens=student.generation.max_new_tokens or 0,
    )
    _say(console, f"suspicious: {'nothing' if not found else ''}".rstrip())
    for line in found:
        _say(console, f"  - {line}")
    show_estimate(estimate(config), config, console)
    return 0 if right.right == right.total else 1


def _show_data(data: OwnData, console: Console) -> None:
    task = data.task
    _say(console, f"{len(data.places)} rows: {len(task.train)} train, {len(task.val)} val, {len(task.test)} test")
    for option, column in data.columns.of.items():
        _say(console, f"  {option}: {column if isinstance(column, str) else ', '.join(column)}")
    _say(console, f"  scorer: {data.judge.name}")
    for note in task.all_notes():
        _say(console, f"note: {note}")


def _show_faults(trial: Trial, console: Console) -> None:
    for fault in trial.faults[:SHOWN]:
        _say(console, f"  - {fault}")
    if len(trial.faults) > SHOWN:
        _say(console, f"  - and {len(trial.faults) - SHOWN} more")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _init(arguments: argparse.Namespace) -> int:
    import yaml
    from rich.console import Console

    from dataenvgym.envs.domains.text import own_data
    from dataenvgym.envs.errors import ConfigError
    from dataenvgym.envs.store import write_bytes

    config, console = _config(arguments), Console()
    out: Path = arguments.out or Path(f"{_stem(arguments.file)}.yaml")
    if out.exists():
        raise ConfigError(f"{out} is there already. Name another file with --out.")
    data = own_data.load(config.task)
    text = yaml.safe_dump(_settings(config, data), sort_keys=False, allow_unicode=True)
    write_bytes(out, (_HEAD.format(file=arguments.file, out=out) + text).encode())
    _say(console, f"{out}: {len(data.places)} rows, scorer {data.judge.name}. Next:")
    _say(console, f"  dataenvgym task check {out}\n  dataenvgym run {out}")
    return 0


_HEAD = """\
# A run on {file}. Look at it first: dataenvgym task check {out}
# `dataenvgym list config --task custom` shows what task.options may hold, `dataenvgym list config` all else.
# The model `scripted` is a test instrument, no language model: name a real one, e.g. openai:gpt-4o-mini.
"""


def _stem(file: str) -> str:
    return Path(file.replace(":", "/")).name.partition(".")[0] or "task"


def _settings(config: EpisodeConfig, data: OwnData) -> dict[str, Any]:
    """The config as it is written: what was found in the data, and the values that one changes first."""
    given = {key: value for key, value in config.task.options.items() if value is not None}
    found: dict[str, Any] = {**given, **data.columns.of}
    if ":" not in str(given.get("scorer", "")):
        found["scorer"] = data.judge.name
    if data.judge.settings.labels:
        found["labels"] = list(data.judge.settings.labels)
    if data.judge.settings.fields:
        found["fields"] = list(data.judge.settings.fields)
    sizes = config.task.model_dump(include={"val_size", "test_size", "seed"}, exclude_none=True)
    return {
        "task": {"name": "custom", "path": config.task.path, **sizes, "options": found},
        "structure": "skill_list",
        "student": {"name": "smollm2"},
        "teacher": {"llm": {"model": config.teacher.llm.model}},
        "budget": {"iterations": ITERATIONS, "rows_per_iteration": ROWS_PER_ITERATION},
    }
