"""Tasks by name."""

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import UnknownNameError
from dataenvgym.envs.tasks.base import Task, TaskSpec

__all__ = ["TASKS", "Task", "TaskSpec", "load_task"]


def _arithmetic(config: TaskConfig) -> Task:
    from dataenvgym.envs.tasks.arithmetic import load

    return load(config)


def _math(config: TaskConfig) -> Task:
    from dataenvgym.envs.tasks.hendrycks_math import load

    return load(config)


def _gsm8k(config: TaskConfig) -> Task:
    from dataenvgym.envs.tasks.gsm8k import load

    return load(config)


TASKS: dict[str, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec("arithmetic", "math", "twelve procedural skills, embedded", _arithmetic, True, True),
        TaskSpec("math", "math", "Hendrycks MATH, competition problems", _math, True, False),
        TaskSpec("gsm8k", "math", "grade-school word problems", _gsm8k, False, False),
    )
}


def load_task(config: TaskConfig) -> Task:
    """The task that `config.name` names, split by `config.seed`.

    Raises:
        UnknownNameError: no such task; the text names the nearest.
        DataError: the files do not have the data set's schema.
        MissingDependencyError: the data can neither be read nor downloaded; the text says what to do.
    """
    if config.name not in TASKS:
        raise UnknownNameError("task", config.name, TASKS)
    return TASKS[config.name].load(config)
