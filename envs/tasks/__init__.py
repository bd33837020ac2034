"""Tasks by name. A module of a domain's folder `tasks/` registers one with `task`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.registry import Registry
from dataenvgym.envs.scorers import SCORERS
from dataenvgym.envs.tasks.base import NoOptions, Task, TaskSpec, options_of

__all__ = ["TASKS", "NoOptions", "Task", "TaskSpec", "load_task", "options_of", "task"]


def _fill() -> None:
    from importlib import import_module

    # By name, since tasks must not depend on the domains that use them. A domain brings its tasks along, also one
    # of another package, so all domains are looked up.
    list(import_module("dataenvgym.envs.domains.base").DOMAINS)


TASKS: Registry[TaskSpec] = Registry("task", "dataenvgym.tasks", _fill)


def task(name: str, *, domain: str, summary: str, **more: Any) -> Callable[[Callable[[TaskConfig], Task]], Any]:
    """Register a task by the function that loads it. `more`: the other fields of `TaskSpec`.

    The lengths, where a task says them, are what 95 to 99 in 100 of the benchmark's own answers need, or what its
    papers use.
    """

    def add(load: Callable[[TaskConfig], Task]) -> Callable[[TaskConfig], Task]:
        settings = {"gold_skills": False, "embedded": False, **more}
        TASKS[name] = TaskSpec(name=name, domain=domain, summary=summary, load=load, **settings)
        return load

    return add


def load_task(config: TaskConfig) -> Task:
    """The task that `config.name` names, split by `config.seed`, scored as `config.scorer` says.

    Raises:
        UnknownNameError: no such task or scorer; the text names the nearest.
        ConfigError: an option that the task does not have.
        DataError: the files do not have the data set's schema.
        MissingDependencyError: the data can neither be read nor downloaded; the text says what to do.
    """
    spec = TASKS.find(config.name)
    options_of(config, spec.options)
    scorer = None if config.scorer is None else SCORERS.find(config.scorer)
    task = spec.load(config)
    return task if scorer is None else replace(task, domain=task.domain.scored_by(scorer))
