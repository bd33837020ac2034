"""Tasks by name."""

from collections.abc import Callable
from importlib import import_module

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.tasks.base import Task, TaskSpec

__all__ = ["TASKS", "Task", "TaskSpec", "load_task"]


def _load_from(module: str) -> Callable[[TaskConfig], Task]:
    """The `load` of a module of a domain, imported when a task is loaded: some import much."""

    def load(config: TaskConfig) -> Task:
        task: Task = import_module(f"dataenvgym.envs.domains.{module}").load(config)
        return task

    return load


# answer_tokens, row_tokens: what 95 to 99 in 100 of the benchmark's own answers need, or what its papers use.
TASKS: dict[str, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            name="arithmetic",
            domain="math",
            summary="twelve procedural skills, embedded",
            load=_load_from("math.tasks.arithmetic"),
            gold_skills=True,
            embedded=True,
        ),
        TaskSpec(
            name="math",
            domain="math",
            summary="Hendrycks MATH, competition problems",
            load=_load_from("math.tasks.hendrycks_math"),
            gold_skills=True,
            embedded=False,
            answer_tokens=768,
            row_tokens=1280,
        ),
        TaskSpec(
            name="gsm8k",
            domain="math",
            summary="grade-school word problems",
            load=_load_from("math.tasks.gsm8k"),
            gold_skills=False,
            embedded=False,
            answer_tokens=320,
            row_tokens=640,
        ),
        TaskSpec(
            name="functions",
            domain="code",
            summary="small Python functions of ten skills, embedded",
            load=_load_from("code.tasks.functions.task"),
            gold_skills=True,
            embedded=True,
            answer_tokens=64,
        ),
        TaskSpec(
            name="livecodebench",
            domain="code",
            summary="LiveCodeBench, contest problems by date",
            load=_load_from("code.tasks.livecodebench"),
            gold_skills=False,
            embedded=False,
            answer_tokens=2000,
            row_tokens=4096,
        ),
        TaskSpec(
            name="humaneval",
            domain="code",
            summary="HumanEval, functions from docstrings",
            load=_load_from("code.tasks.humaneval"),
            gold_skills=False,
            embedded=False,
            answer_tokens=512,
            row_tokens=1024,
        ),
        TaskSpec(
            name="mbpp",
            domain="code",
            summary="MBPP, short functions from a sentence",
            load=_load_from("code.tasks.mbpp"),
            gold_skills=False,
            embedded=False,
            answer_tokens=512,
            row_tokens=1024,
        ),
    )
}


def load_task(config: TaskConfig) -> Task:
    """The task that `config.name` names, split by `config.seed`.

    Raises:
        UnknownNameError: no such task; the text names the nearest.
        ConfigError: a setting of another task.
        DataError: the files do not have the data set's schema.
        MissingDependencyError: the data can neither be read nor downloaded; the text says what to do.
    """
    if config.name not in TASKS:
        raise UnknownNameError("task", config.name, TASKS)
    if config.window is not None and config.name != "livecodebench":
        raise ConfigError(
            f"task.window: a setting of livecodebench; task {config.name!r} has no dates. Leave it null."
        )
    return TASKS[config.name].load(config)
