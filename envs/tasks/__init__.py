"""Tasks by name. A module of a domain's folder `tasks/` registers one with `task`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.registry import Registry
from dataenvgym.envs.scorers import SCORERS
from dataenvgym.envs.tasks.base import HubData, NoOptions, Task, TaskSpec, options_of
from dataenvgym.envs.tasks.hub import watched

__all__ = ["TASKS", "HubData", "NoOptions", "Task", "TaskSpec", "load_task", "options_of", "pinned", "task"]


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


# The last task that was loaded by another revision than its commit, for the next load, which is by the commit:
# a run pins its config to what it has loaded, and some data sets take minutes.
_ready: dict[str, Task] = {}


def load_task(config: TaskConfig) -> Task:
    """The task that `config.name` names, split by `config.seed`, scored as `config.scorer` says.

    Raises:
        UnknownNameError: no such task or scorer; the text names the nearest.
        ConfigError: an option that the task does not have, or a `revision` of data that are not the hub's.
        DataError: the files do not have the data set's schema.
        MissingDependencyError: the data can neither be read nor downloaded; the text says what to do.
    """
    spec = TASKS.find(config.name)
    options_of(config, spec.options)
    if (ready := _ready.pop(config.model_dump_json(), None)) is not None:
        return ready
    scorer = None if config.scorer is None else SCORERS.find(config.scorer)
    with watched() as loads:
        task = spec.load(config)
    if config.revision is not None and not loads:
        where = "does not come from there" if config.path is None else f"was read from task.path, {config.path}"
        raise ConfigError(
            f"task.revision: {config.revision!r} is a revision on the hub, and task {config.name!r} {where}. "
            "Leave out the revision."
        )
    if loads:
        task = replace(task, hub=loads[0])
    if scorer is not None:
        task = replace(task, domain=task.domain.scored_by(scorer))
    if (after := pinned(config, task)) != config:
        _ready.clear()
        _ready[after.model_dump_json()] = task
    return task


def pinned(config: TaskConfig, task: Task) -> TaskConfig:
    """The config with the commit that `task` was loaded from, where that is known."""
    known = None if task.hub is None else task.hub.revision
    return config if known is None else config.model_copy(update={"revision": known})
